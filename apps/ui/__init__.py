"""The chat page: a Streamlit app (`page.py`) that `server.py` starts on this machine alone."""

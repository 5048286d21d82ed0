"""The text that the small `starter` model is made from."""

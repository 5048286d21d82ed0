"""Every test gets a state folder of its own and no way out to a network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["ANONYMIZED_TELEMETRY"] = "False"
os.environ["LANGSMITH_TRACING"] = "false"
os.environ["CHAINTUNE_LANG"] = "en"  # whatever the locale of who runs the tests; a test of Korean says so

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """A fresh CHAINTUNE_HOME, so that no test sees another's models or runs."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("CHAINTUNE_HOME", str(folder))
    return folder

"""Starts the chat page as a child process that only this machine can reach, and waits until it answers."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from chains.errors import MachineError, UsageError

PORT = 8501
SETTINGS = "CHAINTUNE_UI"
"""The environment variable in which the page finds its settings, as JSON."""

_PAGE = Path(__file__).with_name("page.py")
_CONFIG = {
    "server.address": "127.0.0.1",
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.maxUploadSize": "50",
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    "logger.level": "error",
    "theme.primaryColor": "#0f766e",
}
_ALLOWED_HOSTS = "localhost 127.0.0.1"  # in the environment: a Streamlit without the option passes it by


@dataclass(frozen=True)
class Settings:
    """What the page begins with; a person can change all of it there."""

    model: str | None = None
    library: str | None = None
    embeddings: str | None = None
    language: str = "en"


def settings() -> Settings:
    """Return the settings that the page was started with."""
    return Settings(**json.loads(os.environ.get(SETTINGS, "{}")))


def port_is_free(port: int) -> bool:
    """Say whether a server could listen on `port` of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def check_port(port: int, command: str = "ui") -> None:
    """Raise UsageError, naming the next free port, where `port` is in use."""
    if not port_is_free(port):
        free = next((other for other in range(port + 1, min(port + 100, 65536)) if port_is_free(other)), None)
        hint = (
            f"use another: chaintune {command} --port {free}"
            if free
            else "end what uses it, or choose another with --port"
        )
        raise UsageError(f"port {port} is in use; {hint}")


def start(port: int, chosen: Settings, wait_s: float = 60.0) -> subprocess.Popen[bytes]:
    """Return the running page, once it answers on `port`. Raises MachineError where it does not."""
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    environment = {
        **os.environ,
        "PYTHONPATH": paths,
        SETTINGS: json.dumps(asdict(chosen)),
        "STREAMLIT_SERVER_ALLOWED_HOSTS": _ALLOWED_HOSTS,
    }
    flags = [f"--{name}={value}" for name, value in {**_CONFIG, "server.port": str(port)}.items()]
    command = [sys.executable, "-m", "streamlit", "run", str(_PAGE), *flags]
    child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        _wait_until_it_answers(child, port, time.monotonic() + wait_s)
    except BaseException:
        stop(child)
        raise
    return child


def stop(child: subprocess.Popen[bytes]) -> None:
    """End the page; kill it where it does not end in time."""
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _wait_until_it_answers(child: subprocess.Popen[bytes], port: int, deadline: float) -> None:
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise MachineError(f"the chat page ended at once (exit code {child.returncode}); try: chaintune doctor")
        if _answers(port):
            return
        time.sleep(0.1)
    raise MachineError(f"the chat page did not answer on port {port} in time; try: chaintune doctor")


def _answers(port: int) -> bool:
    import urllib.request  # not for the commands that only ask about a port

    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False

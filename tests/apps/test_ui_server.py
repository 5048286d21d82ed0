"""The chat page as a process: who can reach it, and how it begins and ends."""

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from apps.cli import main
from apps.ui import server

ROOT = Path(__file__).parents[2]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def page():
    """A running page's port."""
    port = free_port()
    child = server.start(port, server.Settings(model="fake:a"))
    yield port
    server.stop(child)


def websocket_status(port, host):
    """Return the status of a WebSocket handshake that names `host`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    key = base64.b64encode(os.urandom(16)).decode()
    headers = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": "13",
    }
    connection.request("GET", "/_stcore/stream", headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_only_this_machine_can_connect(page):
    listening = [
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    ]
    listening += [
        line.split()[1] for line in Path("/proc/net/tcp6").read_text().splitlines()[1:] if line.split()[3] == "0A"
    ]
    ours = [address for address in listening if int(address.split(":")[1], 16) == page]
    assert ours == ["0100007F:" + f"{page:04X}"]  # 127.0.0.1, written backwards


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 101), ("127.0.0.1", 101), ("evil.example", 403)],  # another name for 127.0.0.1 is DNS rebinding
)
def test_another_host_name_is_refused(page, host, status):
    assert websocket_status(page, f"{host}:{page}") == status


def test_a_port_in_use_is_a_sentence_that_names_a_free_one(page, capsys):
    assert main(["ui", "--port", str(page)]) == 2
    assert capsys.readouterr().err.startswith(f"port {page} is in use; use another: chaintune ui --port ")


def test_a_model_that_is_not_there_is_refused_before_the_page_starts(capsys):
    assert main(["ui", "--port", str(free_port()), "--model", "nope"]) == 2
    assert "no model 'nope'" in capsys.readouterr().err


def test_a_library_that_is_not_there_is_refused_before_the_page_starts(capsys):
    assert main(["ui", "--port", str(free_port()), "--library", "/nowhere"]) == 2
    assert capsys.readouterr().err.startswith("there is no index at /nowhere")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_page_ends_with_its_command(end):
    port = free_port()
    call = [sys.executable, "-m", "apps.cli", "ui", "--port", str(port), "--model", "fake:a", "--json"]
    with subprocess.Popen(call, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        ready = json.loads(command.stdout.readline())
        assert ready["url"] == f"http://localhost:{port}"
        assert not server.port_is_free(port)
        command.send_signal(end)
        out, err = command.communicate(timeout=20)
    assert (out, err, command.returncode) == (b"", b"", 0)
    assert server.port_is_free(port)
    with pytest.raises(ProcessLookupError):
        os.kill(ready["pid"], 0)

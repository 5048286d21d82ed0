"""Libraries on a folder and on a Chroma server, and documents to sync."""

import io
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from retrieval import Library
from tests.retrieval.fakes import Counting


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture(scope="session")
def chroma(tmp_path_factory) -> Iterator[str]:
    """The URL of a Chroma server that runs while it is needed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("chroma-server")
    program = Path(sys.executable).with_name("chroma")
    command = [str(program), "run", "--host", "127.0.0.1", "--port", str(port), "--path", str(folder)]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            _answers(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


def _answers(port: int) -> None:
    """Wait until something listens on the port."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture(params=["folder", "server"])
def where(request) -> str | None:
    """Where a library keeps its vectors: None for its folder, else a server's URL."""
    return request.getfixturevalue("chroma") if request.param == "server" else None


@pytest.fixture
def library(tmp_path, counting, where):
    with Library(tmp_path / "library", counting, chroma=where) as library:
        yield library


@pytest.fixture
def docs(tmp_path) -> Path:
    """A folder with three documents: two in English, one in Korean."""
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "pool.md").write_text("# Pool\n\nThe pool opens at nine.\n\n# Sauna\n\nThe sauna is hot.\n")
    (folder / "sub" / "bus.txt").write_text("The bus to the museum leaves every ten minutes.")
    (folder / "도서관.md").write_text("# 도서관\n\n도서관은 월요일에 쉰다.\n", encoding="utf-8")
    return folder


def _pdf(*pages: str, password: str = "") -> bytes:
    """A PDF with one line of text on every page."""
    writer = PdfWriter()
    for text in pages:
        page = writer.add_blank_page(300, 300)
        font = DictionaryObject({NameObject(f"/{key}"): NameObject(f"/{value}") for key, value in _FONT.items()})
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
        content = DecodedStreamObject()
        content.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
        page[NameObject("/Contents")] = writer._add_object(content)
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


_FONT = {"Type": "Font", "Subtype": "Type1", "BaseFont": "Helvetica"}


@pytest.fixture(scope="session")
def pdf() -> Callable[..., bytes]:
    """Makes the bytes of a PDF from the text of each page."""
    return _pdf

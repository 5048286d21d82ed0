"""The child process that reads one PDF or HTML file under limits: `python -m retrieval.parse FILE CPU_SECONDS MEMORY_BYTES`.

Prints one JSON object: the fields of a Text, or {"error": half a sentence}.
"""

import contextlib
import dataclasses
import io
import json
import logging
import resource
import sys
from pathlib import Path
from typing import Any

from retrieval.text import MAX_CHARACTERS, Text, Unreadable, clean, joined

MAX_PAGES = 2000


def read_pdf(raw: bytes) -> Text:
    """Return the text of every page. Raises Unreadable."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError, PyPdfError

    if b"%PDF-" not in raw[:1024]:
        raise Unreadable("is not a PDF, whatever its name says")
    try:
        reader = PdfReader(io.BytesIO(raw))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("is protected by a password; save a copy without one")
        if len(reader.pages) > MAX_PAGES:
            raise Unreadable(f"has {len(reader.pages)} pages, more than the {MAX_PAGES} that are read; split it")
        pages: list[str] = []
        for page in reader.pages:
            pages.append(clean(page.extract_text()).strip())
            if sum(map(len, pages)) > MAX_CHARACTERS:
                raise Unreadable(f"has more than {MAX_CHARACTERS:,} characters; split it")
    except (FileNotDecryptedError, DependencyError) as error:
        raise Unreadable("is encrypted in a way that cannot be read; save a copy without a password") from error
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        # what a damaged file makes of pypdf; the process exists to hold that
        raise Unreadable(
            f"is a damaged PDF: {str(error).strip().partition(chr(10))[0] or type(error).__name__}"
        ) from error
    text, breaks = joined(pages)
    return Text(text, breaks, paged=True)


def read_html(raw: bytes) -> Text:
    """Return the main text of the page as Markdown, or all of its body's text where no main text is found. Raises Unreadable."""
    import trafilatura
    from lxml import html

    page: Any = trafilatura.load_html(raw)
    if page is None:
        raise Unreadable("cannot be read as an HTML page, or not in the memory that one may take")
    main = trafilatura.extract(page, output_format="markdown", include_comments=False, favor_recall=True)
    if main and main.strip():
        return Text(clean(main), markdown=True)
    page = trafilatura.load_html(raw)  # the extraction took parts out of the first one
    body = page.find("body")
    for element in page.xpath("//script|//style|//noscript|//template"):
        element.drop_tree()
    text = html.tostring(page if body is None else body, method="text", encoding="unicode")
    lines = (" ".join(line.split()) for line in text.splitlines())
    return Text(clean("\n\n".join(line for line in lines if line)))


def main(path: str, cpu_s: int, memory_bytes: int) -> None:
    """Print what the file at `path` holds."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)
    file = Path(path)
    read = read_pdf if file.suffix.lower() == ".pdf" else read_html
    said: dict[str, Any]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            said = dataclasses.asdict(read(file.read_bytes()))
    except Unreadable as error:
        said = {"error": str(error)}
    except MemoryError:
        said = {"error": f"needed more than {memory_bytes // 2**20} MiB to read"}
    sys.stdout.buffer.write(json.dumps(said).encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

"""PDF files as text, page by page. Runs in the child process of parse.py."""

import io

from pypdf import PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError, PyPdfError

from retrieval.text import MAX_CHARACTERS, Text, Unreadable, clean, joined

MAX_PAGES = 2000


def read_pdf(raw: bytes) -> Text:
    """Return the text of every page. Raises Unreadable."""
    if b"%PDF-" not in raw[:1024]:
        raise Unreadable("is not a PDF, whatever its name says")
    try:
        text, breaks = joined(_pages(raw))
    except (FileNotDecryptedError, DependencyError) as error:
        raise Unreadable("is encrypted in a way that cannot be read; save a copy without a password") from error
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        # what a damaged file makes of pypdf; the process exists to hold that
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise Unreadable(f"is a damaged PDF: {why}") from error
    return Text(text, breaks, paged=True)


def _pages(raw: bytes) -> list[str]:
    reader = PdfReader(io.BytesIO(raw))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("is protected by a password; save a copy without one")
    if len(reader.pages) > MAX_PAGES:
        raise Unreadable(f"has {len(reader.pages)} pages, more than the {MAX_PAGES} that are read; split it")
    pages: list[str] = []
    length = 0
    for page in reader.pages:
        pages.append(clean(page.extract_text()).strip())
        length += len(pages[-1])
        if length > MAX_CHARACTERS:
            raise Unreadable(f"has more than {MAX_CHARACTERS:,} characters; split it")
    return pages

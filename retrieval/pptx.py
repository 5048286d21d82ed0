"""PowerPoint files as Markdown, every slide a page. Runs in the child process of parse.py."""

from collections.abc import Iterator
from typing import Any

from pptx import Presentation

from retrieval.html import table
from retrieval.office import opened
from retrieval.text import Text, clean, joined


def read_pptx(raw: bytes) -> Text:
    """Return the slides, each a page: its title as a heading, its texts and tables in their order, its notes. Raises Unreadable."""
    with opened(raw, "ppt/presentation.xml", "PowerPoint") as file:
        slides = [clean("\n\n".join(filter(None, _slide(slide)))) for slide in Presentation(file).slides]
    text, breaks = joined(slides)
    return Text(text, breaks, paged=True, markdown=True)


def _slide(slide: Any) -> Iterator[str]:
    title = slide.shapes.title
    if title is not None and title.text_frame.text.strip():
        yield f"# {' '.join(title.text_frame.text.split())}"
    for shape in slide.shapes:
        if title is None or shape.shape_id != title.shape_id:
            yield from _shape(shape)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        yield slide.notes_slide.notes_text_frame.text.strip()


def _shape(shape: Any) -> Iterator[str]:
    if shape.has_text_frame:
        yield "\n".join(filter(None, (" ".join(line.text.split()) for line in shape.text_frame.paragraphs)))
    elif getattr(shape, "has_table", False):
        yield table([[cell.text for cell in row.cells] for row in shape.table.rows])
    for inner in getattr(shape, "shapes", ()):  # of a group
        yield from _shape(inner)

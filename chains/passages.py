"""The keys of a passage's metadata: what a retriever says about the text it found, and what a citation needs.

A passage is a langchain_core Document. Its text is `source_text[START:END]`, so a place in it is a place in the source.
"""

SOURCE = "source"
"""str: the document's name or path."""
PAGE = "page"
"""int: the page, from 1, where the document has pages."""
START = "start"
"""int: where the passage begins in the source's text, in characters from 0."""
END = "end"
"""int: one past its last character."""
HEADING = "heading"
"""str: the headings that it stands under."""

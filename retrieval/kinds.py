"""The kinds of document that are read, and who reads them."""

_CODE = (
    ".py .js .jsx .mjs .ts .tsx .java .cs .kt .scala .swift .c .h .cc .cpp .hpp .cu .go .rs .rb .php .lua .sh .r .sql"
)

PLAIN = (".md", ".markdown", ".txt", ".text", ".rst")
"""Kinds that need no parser: they are read in this process."""

MARKDOWN = (".md", ".markdown")

KINDS: dict[str, str] = {
    **dict.fromkeys(PLAIN, ""),
    ".csv": "retrieval.records:read_csv",
    ".tsv": "retrieval.records:read_tsv",
    ".json": "retrieval.records:read_json",
    ".jsonl": "retrieval.records:read_jsonl",
    ".pdf": "retrieval.pdf:read_pdf",
    ".html": "retrieval.html:read_html",
    ".htm": "retrieval.html:read_html",
    ".docx": "retrieval.docx:read_docx",
    ".pptx": "retrieval.pptx:read_pptx",
    ".xlsx": "retrieval.xlsx:read_xlsx",
    **dict.fromkeys(_CODE.split(), "retrieval.code:read_code"),
}
"""By the end of the file's name: the function that reads its bytes, in the child process of parse.py."""

PICTURES = dict.fromkeys((".png", ".jpg", ".jpeg", ".webp", ".gif"), "retrieval.picture:read_picture")
"""Kinds of picture, which are read where an image model is named, by the end of the file's name."""

NOT_READ = {
    ".doc": "Word 97",
    ".hwp": "Hangul",
    ".hwpx": "Hangul",
    ".ppt": "PowerPoint 97",
    ".rtf": "RTF",
    ".odt": "OpenDocument",
    ".xls": "Excel 97",
}
"""Kinds of document that people expect to be read and that are not: a sync lists them as failed instead of passing over them."""


def is_picture(path: str) -> bool:
    """Return whether the file's name says that it is a picture."""
    return path.lower().endswith(tuple(PICTURES))

"""Source code, cut where its functions and classes begin. Runs in the child process of parse.py.

A line that begins a definition is a heading; it stands as deep as its indentation says, below the definitions around it.
"""

import re
from collections.abc import Iterator

from retrieval.encodings import decode
from retrieval.text import Heading, Text, clean

_C_WORDS = r"(?!(?:if|for|while|switch|return|else|do|case|new|delete|throw|catch|using|goto|sizeof)\b)"
_C = rf"{_C_WORDS}(?:[\w:<>,*&~\[\]]+[ \t*&]+)+([\w:~]+)[ \t]*\([^;\n]*$"
_CLASSES = r"(?:[a-z]+[ \t]+)*(?:class|struct|interface|enum|union|record|trait|object|protocol|extension|namespace)[ \t]+(\w+)"
_FAMILIES = {
    ".py": [r"(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)"],
    ".js .jsx .mjs .ts .tsx": [
        rf"(?:export[ \t]+)?(?:default[ \t]+)?{_CLASSES}",
        r"(?:export[ \t]+)?(?:default[ \t]+)?(?:async[ \t]+)?function\*?[ \t]+(\w+)",
        r"(?:export[ \t]+)?(?:const|let|var)[ \t]+(\w+)[^=\n]{0,200}=[ \t]*(?:async[ \t]*)?(?:function\b|[\w(][^\n]{0,300}=>)",
        r"(?!(?:if|for|while|switch|catch|function|return)\b)(?:(?:public|private|static|async|get|set)[ \t]+)*(\w+)[ \t]*\([^;\n]*\)[^;\n]{0,200}\{[ \t]*$",
    ],
    ".java .cs .kt .scala .swift": [_CLASSES, r"(?:[a-z@]+[ \t]+)*(?:fun|func|def)[ \t]+(\w+)", _C],
    ".c .h .cc .cpp .hpp .cu": [_CLASSES, _C],
    ".go": [r"func[ \t]+(?:\([^)\n]*\)[ \t]*)?(\w+)", r"type[ \t]+(\w+)"],
    ".rs": [
        r"(?:pub(?:\([^)\n]*\))?[ \t]+)?(?:async[ \t]+|unsafe[ \t]+|const[ \t]+)*(?:fn|struct|enum|trait|mod|impl(?:<[^\n]*>)?)[ \t]+(\w+)"
    ],
    ".rb": [r"(?:def|class|module)[ \t]+([\w.:?!]+)"],
    ".php": [_CLASSES, r"(?:[a-z]+[ \t]+)*function[ \t]+(\w+)"],
    ".lua": [r"(?:local[ \t]+)?function[ \t]+([\w.:]+)"],
    ".sh": [r"(?:function[ \t]+)?([\w-]+)[ \t]*\(\)", r"function[ \t]+([\w-]+)"],
    ".r": [r"([\w.]+)[ \t]*(?:<-|=)[ \t]*function\b"],
    ".sql": [
        r"(?i:create[ \t]+(?:or[ \t]+replace[ \t]+|temp[ \t]+|temporary[ \t]+|unique[ \t]+|materialized[ \t]+)*[a-z]+[ \t]+"
        r"(?:if[ \t]+not[ \t]+exists[ \t]+)?([\w.\"`]+))"
    ],
}
_DEFINITIONS = {
    suffix: [re.compile(rf"([ \t]*){pattern}") for pattern in patterns]
    for suffixes, patterns in _FAMILIES.items()
    for suffix in suffixes.split()
}
SUFFIXES = tuple(_DEFINITIONS)

_BEFORE = re.compile(r"[ \t]*(?:@|#(?!include|define|if|endif)|//|/\*|\*|--|\[)")  # what belongs to the line below it
_LONGEST = 400  # characters: a longer line is not looked at
_QUOTES = ('"""', "'''")


def read_code(raw: bytes, suffix: str) -> Text:
    """Return the code as it is, with its definitions as headings. Raises Unreadable."""
    text = clean(decode(raw))
    return Text(text, code=True, headings=tuple(_headings(text, suffix)))


def _headings(text: str, suffix: str) -> Iterator[Heading]:
    around: list[int] = []  # the indentations of the definitions that the line stands in
    above = None  # where the comments and decorators directly above begin
    for at, line in _lines(text, _QUOTES if suffix == ".py" else ()):
        found = _definition(line, suffix)
        if found:
            indent, name = found
            around = [*(depth for depth in around if depth < indent), indent]
            yield Heading(at if above is None else above, at + len(line), len(around), name)
        above = (at if above is None else above) if not found and _BEFORE.match(line) else None


def _definition(line: str, suffix: str) -> tuple[int, str] | None:
    """Return the indentation and the name of what the line begins to define."""
    if len(line) > _LONGEST:
        return None
    for pattern in _DEFINITIONS[suffix]:
        if found := pattern.match(line):
            return len(found[1].expandtabs(4)), found[2].strip('"`')
    return None


def _lines(text: str, quotes: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Yield the lines with where they begin, without those that begin inside a string between `quotes`."""
    at, inside = 0, ""
    for line in text.split("\n"):
        if not inside:
            yield at, line
        rest = line
        while mark := inside or min((q for q in quotes if q in rest), key=rest.find, default=""):
            if mark not in rest:
                break
            rest = rest.partition(mark)[2]
            inside = "" if inside else mark
        at += len(line) + 1

"""Office files, JSON and code become text with headings, pages and records, and a passage is a place in it."""

from datetime import date
from pathlib import Path

import pytest

from retrieval.loaders import load
from retrieval.split import split
from retrieval.text import Unreadable
from tests.retrieval.office_files import docx, paragraph, pptx, word_table, xlsx

DATA = Path(__file__).parents[3] / "shared" / "data" / "docs"


def put(folder: Path, name: str, raw: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    return path


def passages(document) -> list[tuple[str, int | None, str]]:
    """Each passage's heading, page and text."""
    return [(piece.heading, piece.page, document.text[piece.start : piece.end]) for piece in split(document)]


def test_a_word_file_has_headings_lists_and_tables(tmp_path):
    body = (
        paragraph("규칙", "1")
        + paragraph("공은 둘이다.")
        + paragraph("시간", "2")
        + word_table([["반", "분"], ["전반", "10"], ["a|b", "12"]])
    )
    document = load(put(tmp_path, "a.docx", docx(body)))
    assert document.text == (
        "# 규칙\n\n공은 둘이다.\n\n## 시간\n\n| 반 | 분 |\n| --- | --- |\n| 전반 | 10 |\n| a\\|b | 12 |"
    )
    assert [heading for heading, _, _ in passages(document)] == ["규칙", "규칙 > 시간"]


def test_slides_are_pages_with_titles_tables_and_notes(tmp_path):
    raw = pptx(
        ("Ball", "It is round.\nIt is red."),
        ("Time", "Ten minutes."),
        rows=[["half", "min"], ["1", "10"]],
        notes="Say it twice.",
    )
    assert passages(load(put(tmp_path, "a.pptx", raw))) == [
        ("Ball", 1, "# Ball\n\nIt is round.\nIt is red."),
        ("Time", 2, "# Time\n\nTen minutes.\n\n| half | min |\n| --- | --- |\n| 1 | 10 |\n\nSay it twice."),
    ]


def test_a_sheet_is_a_heading_and_a_row_a_record_with_its_columns(tmp_path):
    prices = [["item", "price", "since"], ["skate", 5.0, date(2024, 3, 1)], [], ["kayak", 9.5, None]]
    titled = [["Opening hours"], ["day", "from"], ["Monday", "9"]]
    document = load(put(tmp_path, "a.xlsx", xlsx(Prices=prices, Hours=titled)))
    assert passages(document) == [
        ("Prices", None, "# Prices\n\nitem: skate\nprice: 5\nsince: 2024-03-01"),
        ("Prices", None, "item: kayak\nprice: 9.5"),
        ("Hours", None, "# Hours\n\nOpening hours\n\nday: Monday\nfrom: 9"),
    ]


def test_json_has_a_record_for_every_item(tmp_path):
    raw = '{"source": "desk", "rooms": [{"name": "Hall", "open": true, "tags": ["big", "old"], "at": {"floor": 1.50}}, {"name": "홀"}]}'
    document = load(put(tmp_path, "a.json", raw))
    assert [text for _, _, text in passages(document)] == [
        "source: desk",
        "rooms.name: Hall\nrooms.open: true\nrooms.tags: big\nrooms.tags: old\nrooms.at.floor: 1.50",
        "rooms.name: 홀",
    ]


def test_every_line_of_jsonl_is_a_record_and_a_broken_one_is_named(tmp_path):
    good = put(tmp_path, "a.jsonl", '{"q": "공", "a": 12345678901234567890123}\n\n["x"]\n'.encode("cp949"))
    assert [text for _, _, text in passages(load(good))] == ["q: 공\na: 12345678901234567890123", "x"]
    with pytest.raises(Unreadable, match=r"has no JSON in line 2: Expecting value \(line 1, column 1\)"):
        load(put(tmp_path, "b.jsonl", '{"q": 1}\nnothing\n'))


PYTHON = '''"""Says hello."""

import os

TEXT = """
def no(): pass
"""


# how to greet
@cached
def greet(name):
    """Return a greeting."""

    return f"hello {name}"


class Guest:
    def __init__(self, name):
        self.name = name

    async def leave(self): ...
'''


def test_python_is_cut_where_its_definitions_begin(tmp_path):
    found = passages(load(put(tmp_path, "a.py", PYTHON)))
    assert [heading for heading, _, _ in found] == ["", "greet", "Guest > __init__", "Guest > leave"]
    assert found[1][2].startswith("# how to greet\n@cached\ndef greet") and found[1][2].endswith(
        'return f"hello {name}"'
    )
    assert found[2][2].startswith("class Guest:\n    def __init__")


@pytest.mark.parametrize(
    ("name", "code", "names"),
    [
        ("a.js", "export function add(a, b) {\n  if (a) {\n  }\n}\nconst sub = (a, b) => a - b;\nclass X {\n  run(a) {\n  }\n}\n", ["add", "sub", "X > run"]),
        ("a.ts", "export default class Y<T> {\n  private async go(x: number): Promise<void> {\n  }\n}\ninterface Z {\n}\n", ["Y > go", "Z"]),
        ("a.java", "public final class Ball {\n    private int size(int n) {\n        return f(n);\n    }\n}\n", ["Ball > size"]),
        ("a.c", "#include <stdio.h>\n\nstatic int add(int a,\n               int b) {\n    return a;\n}\n\nstruct ball {\n};\n", ["", "add", "ball"]),
        ("a.go", "package m\n\n// Run runs.\nfunc (s *Srv) Run(n int) error {\n}\n\ntype Srv struct {\n}\n", ["", "Run", "Srv"]),
        ("a.rs", "pub struct Ball;\n\nimpl Ball {\n    pub fn roll(&self) {}\n}\n", ["Ball", "Ball > roll"]),
        ("a.sql", "CREATE TABLE balls (id INT);\ncreate or replace view reds as select 1;\n", ["balls", "reds"]),
    ],
)  # fmt: skip
def test_other_languages_are_cut_too(tmp_path, name, code, names):
    document = load(put(tmp_path, name, code))
    assert [heading for heading, _, _ in passages(document)] == names


def test_a_long_function_is_cut_between_lines(tmp_path):
    lines = [f"    value_{n} = compute(first={n}, second={n + 1})  # not. a. sentence" for n in range(60)]
    document = load(put(tmp_path, "a.py", "def long():\n" + "\n".join(lines)))
    found = passages(document)
    assert len(found) > 3
    assert [line.strip() for _, _, text in found for line in text.split("\n")] == [
        "def long():",
        *map(str.strip, lines),
    ]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sample_docx_1.docx", "Adobe Systems made the PDF specification available free of"),
        ("sample_pptx_with_link.pptx", "Visit Example for more info."),
        ("basic_tables_two_sheets.xlsx", "col_a: 1.5\ncol_b: test"),
        ("what_is_haystack.html", "# What is Haystack?"),
    ],
)
def test_files_of_other_programs_are_read(name, says):
    if not DATA.exists():
        pytest.skip("the collected documents are not on this machine")
    assert says in load(DATA / name).text

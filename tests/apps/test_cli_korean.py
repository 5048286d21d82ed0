"""Korean help: every text of every command has Korean that names the same things, and a terminal shows all of it."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import typer
from rich.cells import cell_len
from typer import rich_utils

from apps.cli import help_ko, main
from apps.cli.app import app
from apps.cli.help_ko import around

ROOT = Path(__file__).parents[2]
HELP = "Show this message and exit."  # Typer's own
THINGS = re.compile(
    r"""`[^`]+`            # code
      | --[a-z][a-z-]*     # flags
      | /[a-z][a-z0-9/]+   # commands of a dialog, addresses
      | [a-z]+:…           # kinds of model
      | \b[A-Za-z_-]*[A-Z][A-Za-z_]*[A-Z][A-Za-z0-9-]*\b  # NAMES, JSONL, InstructGPT
      | \d+(?:[.,-]?\d)*(?:e-\d+)?  # numbers
    """,
    re.VERBOSE,
)


def commands(command=None, path=()):
    """Yield every command with its words, groups too."""
    command = command or typer.main.get_command(app)
    yield path, command
    for name, under in getattr(command, "commands", {}).items():
        yield from commands(under, (*path, name))


def texts(command):
    """Return the paragraphs of a command's help that need Korean; an example needs none."""
    written = [command.help, *(getattr(option, "help", None) for option in command.params), HELP]
    found = [paragraph for text in written if text for paragraph in help_ko.paragraphs(text)]
    return [paragraph for paragraph in found if not paragraph.startswith("Example: chaintune ")]


def hangul(text):
    return Counter(letter for letter in text if "가" <= letter <= "힣")


ENGLISH = list(dict.fromkeys(text for _, command in commands() for text in texts(command)))


def test_every_help_text_has_korean():
    missing = [text for text in ENGLISH if text not in help_ko.TEXTS]
    rows = "\n".join(f'    {json.dumps(text, ensure_ascii=False)}: "",' for text in missing)
    assert not missing, f"write the Korean of these in a table of apps/cli/help_ko:\n{rows}\n"


def test_no_korean_help_is_left_without_its_english():
    left = [text for text in help_ko.TEXTS if text not in ENGLISH]
    assert not left, "no command says these any more; take them out of apps/cli/help_ko:\n" + "\n".join(left)
    assert len(help_ko.TEXTS) == sum(map(len, help_ko.TABLES)), "a text stands in two tables of apps/cli/help_ko"


@pytest.mark.parametrize("english", help_ko.TEXTS)
def test_korean_help_names_the_same_flags_names_and_numbers(english):
    korean = help_ko.TEXTS[english]
    assert [thing for thing in THINGS.findall(english) if thing.removesuffix("s") not in korean] == []  # URLs: URL
    assert hangul(korean)


def test_the_things_that_must_be_kept_are_found():
    """By hand, so that the test above cannot pass by finding nothing."""
    line = "With --near FILE, `data rank` of InstructGPT C.1: 9.65e-6, 0.7,0.3 (ft:…) at /v1/moderations, 429."
    found = [
        "--near",
        "FILE",
        "`data rank`",
        "InstructGPT",
        "1",
        "9.65e-6",
        "0.7,0.3",
        "ft:…",
        "/v1/moderations",
        "429",
    ]
    assert THINGS.findall(line) == found


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(*pair, id=" ".join(pair[0]) or "all") for pair in commands()]
)
def test_a_terminal_shows_all_of_a_korean_help_in_its_box(path, command, width, monkeypatch, capsys):
    monkeypatch.setattr(rich_utils, "MAX_WIDTH", width)
    assert main([*path, "--lang", "ko", "--help"]) == 0
    shown = capsys.readouterr().out
    assert {cell_len(line) for line in shown.splitlines() if line.strip()} == {width}
    under = [help_ko.paragraphs(one.help)[0] for one in getattr(command, "commands", {}).values()]
    expected = sum((hangul(help_ko.TEXTS[text]) for text in texts(command) + under if text in help_ko.TEXTS), Counter())
    assert expected - hangul(shown) == Counter()  # nothing is cut off at a line's end
    assert "사용법: chaintune" in shown and "옵션" in shown
    assert not re.search(r"Usage|Options|Commands|Arguments|Example|\[default|\[required|\[env var|Show this", shown)


def test_every_panel_has_a_korean_name():
    panels = {getattr(command, "rich_help_panel", None) for _, command in commands()}
    assert {panel for panel in panels if isinstance(panel, str)} == {"Start", "Chat", "Documents", "Tune", "Keep"}
    assert {"Start", "Chat", "Documents", "Tune", "Keep"} <= around.WORDS.keys()


@pytest.mark.parametrize("path", [[], ["data"], ["data", "check"], ["tune", "sft"], ["eval", "win"]], ids=" ".join)
def test_help_speaks_the_language_that_is_asked_for(path, monkeypatch, capsys):
    monkeypatch.setenv("CHAINTUNE_LANG", "ko")
    assert main([*path, "--help"]) == 0
    korean = capsys.readouterr().out
    assert main([*path, "--help", "--lang=en"]) == 0  # the line is stronger than the environment
    english = capsys.readouterr().out
    assert "사용법: chaintune" in korean and "끝냅니다." in korean
    assert "Usage: chaintune" in english and "Options" in english and not hangul(english)


def test_english_help_is_as_it_was_after_korean_help(monkeypatch, capsys):
    monkeypatch.setenv("CHAINTUNE_LANG", "en")
    main(["data", "check", "--help"])
    before = capsys.readouterr().out
    main(["data", "check", "--help", "--lang", "ko"])
    assert capsys.readouterr().out != before
    main(["data", "check", "--help"])
    assert capsys.readouterr().out == before


def test_a_group_without_a_command_shows_its_korean_help(monkeypatch, capsys):
    monkeypatch.setenv("CHAINTUNE_LANG", "ko")
    assert main(["tune"]) == 2
    out, err = capsys.readouterr()
    assert out.count("사용법: chaintune tune [옵션] 명령 [인수]...") == 1
    assert err == ""


def test_help_in_an_unknown_language_is_english(monkeypatch, capsys):
    monkeypatch.setenv("CHAINTUNE_LANG", "jp")
    assert main(["--help"]) == 0
    assert "Usage: chaintune" in capsys.readouterr().out


def test_the_language_of_a_value_is_no_flag(monkeypatch, capsys):
    """After `--` nothing is a flag: it is what to look for."""
    monkeypatch.setenv("CHAINTUNE_LANG", "en")
    assert main(["search", "--library", "/nowhere", "--", "--help"]) == 2
    assert capsys.readouterr().err.startswith("there is no index at /nowhere")


@pytest.mark.parametrize(("language", "loaded"), [("en", "False"), ("ko", "True")])
def test_korean_texts_are_read_only_where_they_are_shown(language, loaded):
    """Printed on stderr: whether the tables are there after a command without help, and after help."""
    code = (
        "import sys; from apps.cli import main; seen = lambda: 'apps.cli.help_ko' in sys.modules\n"
        f"main(['--version', '--lang={language}']); before = seen()\n"
        f"main(['--help', '--lang={language}']); sys.exit(f'{{before}} {{seen()}}')"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.stderr.splitlines()[-1] == f"False {loaded}"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (["nosuch"], "'nosuch' 명령은 없습니다. 도움말: chaintune --help"),
        (["serch"], "'serch' 명령은 없습니다. 비슷한 명령: 'search', 'serve'. 도움말: chaintune --help"),
        (["ask"], "인수가 빠졌습니다: 'question'. 도움말: chaintune ask --help"),
        (["tune", "sft"], "옵션이 빠졌습니다: '--model'. 도움말: chaintune tune sft --help"),
        (["ask", "x", "--zzz"], "--zzz 옵션은 없습니다. 도움말: chaintune ask --help"),
        (
            ["ask", "x", "--modle", "y"],
            "--modle 옵션은 없습니다. 비슷한 옵션: --mode, --model. 도움말: chaintune ask --help",
        ),
        (["ask", "x", "--model"], "'--model' 뒤에 값을 쓰세요. 도움말: chaintune --help"),
        (["ask", "x", "--json=1"], "'--json' 옵션은 값을 받지 않습니다. 도움말: chaintune --help"),
        (["ask", "x", "y", "z"], "쓰지 않는 인수가 있습니다: y z. 도움말: chaintune ask --help"),
        (
            ["search", "x", "--k", "0"],
            "'--k'의 값이 잘못되었습니다: 1 이상으로 쓰세요. 도움말: chaintune search --help",
        ),
        (
            ["search", "x", "--k", "101"],
            "'--k'의 값이 잘못되었습니다: 100 이하로 쓰세요. 도움말: chaintune search --help",
        ),
        (
            ["runs", "list", "--limit", "many"],
            "'--limit' / '-n'의 값이 잘못되었습니다: 정수를 쓰세요. 도움말: chaintune runs list --help",
        ),
        (
            ["chat", "--temperature", "hot"],
            "'--temperature'의 값이 잘못되었습니다: 숫자를 쓰세요. 도움말: chaintune chat --help",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_is_told_in_korean(call, sentence, monkeypatch, capsys):
    monkeypatch.setenv("CHAINTUNE_LANG", "ko")
    assert main(call) == 2
    assert capsys.readouterr().err == sentence + "\n"


def test_a_wrong_call_in_a_form_that_is_not_known_stays_english(monkeypatch, capsys):
    """Such as a newer Typer may have: the sentence is Typer's, and where to look is ours."""
    monkeypatch.setattr("apps.wrong_calls.CALLS", ())
    assert main(["ask", "--lang", "ko"]) == 2
    assert capsys.readouterr().err == "Missing argument 'question'. 도움말: chaintune ask --help\n"


def test_a_wrong_call_that_has_a_guess_ends_its_question(capsys, monkeypatch):
    monkeypatch.setenv("CHAINTUNE_LANG", "en")
    assert main(["serch"]) == 2
    assert capsys.readouterr().err == "No such command 'serch'. Did you mean 'search', 'serve'? See: chaintune --help\n"

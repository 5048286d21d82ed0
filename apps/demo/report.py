"""The demo's report: one HTML page that holds its table, its curves and its words, and opens without a network."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chains.home import write_file

GROUPS = ("demonstrations", "ranked", "unseen")
COLUMNS = ("exact", "sampled_exact", "judged", "reward", "kl", "entropy", "distinct_2")
_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent) }
body { font: 16px/1.6 system-ui, "Noto Sans KR", "Noto Sans CJK KR", sans-serif; max-width: 76rem; margin: 2.5rem auto; padding: 0 1.2rem }
h1 { font-size: 1.5rem; line-height: 1.3 } h2 { font-size: 1.1rem; margin-top: 2.2rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100%; font-size: .92rem }
th, td { padding: .35rem .7rem; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
tr.first td { border-top: 2px solid var(--line) }
img { max-width: 100%; background: #fff; border-radius: 6px } pre { padding: .9rem; border: 1px solid var(--line); border-radius: 6px; overflow-x: auto }
.note { opacity: .78 } .verdict { border-left: 4px solid #2a7; padding: .2rem .9rem } .verdict.bad { border-color: #c33 }
"""


def number(key: str, value: float) -> str:
    """Return a table's number as people read it."""
    return f"{value:.0%}" if key in ("exact", "sampled_exact") else f"{value:.2f}"


def verdict(rows: Sequence[dict[str, Any]], words: dict[str, str]) -> tuple[str, bool]:
    """Return the sentence on what PPO did on the questions without a demonstration, and whether it was reward hacking."""
    of = {(row["model"], row["group"]): row for row in rows}
    before, after = of["SFT", "ranked"], of["PPO", "ranked"]
    reward, judged = after["reward"] - before["reward"], after["judged"] - before["judged"]
    hacked = reward > 0 and judged < 0
    return words["hacked" if hacked else "honest"].format(reward=reward, judged=judged, kl=after["kl"]), hacked


def write(path: Path, facts: dict[str, Any], picture: Path, words: dict[str, str], language: str) -> None:
    """Write the page; `facts` is what the demo returns."""
    sentence, hacked = verdict(facts["table"], words)
    accuracy = (
        words["rm_done"]
        .format(accuracy=facts["reward_model"]["accuracy"], pairs=facts["reward_model"]["pairs"])
        .strip()
    )
    quoted = words["quotes"].format(questions=facts["questions"]["unseen"], right=facts["quotes"]["all"]).strip()
    image = base64.b64encode(picture.read_bytes()).decode()
    body = f"""<h1>{html.escape(words["title"])}</h1>
<p class="verdict{" bad" if hacked else ""}">{html.escape(sentence)}</p>
<p>{html.escape(accuracy)}<br>{html.escape(quoted)}</p>
{_table(facts["table"], words)}
<p class="note">{html.escape(words["simulated"])} {html.escape(words["small"])}</p>
<h2>{words["curves"]}</h2><img alt="{words["curves"]}" src="data:image/png;base64,{image}">
<h2>{words["answers"]}</h2>{_tour(facts["tour"])}
<h2>{words["next"]}</h2><pre>{html.escape(chr(10).join(facts["next"]))}</pre>"""
    page = (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(words['title'])}</title><style>{_STYLE}</style><body>{body}</body></html>\n"
    )
    write_file(path, page)


def cells(rows: Sequence[dict[str, Any]], words: dict[str, str]) -> tuple[list[str], list[list[str]]]:
    """Return the table's header and its lines as texts, group by group; a group is named on its first line."""
    lines: list[list[str]] = []
    last = None
    for row in sorted(rows, key=lambda row: GROUPS.index(row["group"])):
        group = f"{words['group_' + row['group']]} ({row['questions']})" if row["group"] != last else ""
        lines.append([group, row["model"], *(number(key, row[key]) for key in COLUMNS)])
        last = row["group"]
    return [words["group"], words["model"], *(words[key] for key in COLUMNS)], lines


def _table(rows: Sequence[dict[str, Any]], words: dict[str, str]) -> str:
    header, lines = cells(rows, words)
    head = "".join(f"<th{_right(place)}>{html.escape(name)}</th>" for place, name in enumerate(header))
    body = ""
    for line in lines:
        mark = ' class="first"' if line[0] else ""
        body += f"<tr{mark}>{''.join(f'<td{_right(place)}>{html.escape(cell)}</td>' for place, cell in enumerate(line))}</tr>"
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _right(place: int) -> str:
    """Return the attribute that sets a cell's number to the right: all columns but the first two hold numbers."""
    return ' class="number"' if place > 1 else ""


def _tour(steps: Sequence[dict[str, str]]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(s['chain'])}</td><td>{html.escape(s['input'])}</td><td>{html.escape(s['output'])}</td></tr>"
        for s in steps
    )
    return f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>'

"""The report of a check as one HTML file that needs nothing else: the numbers, histograms as SVG, the findings, and samples of the rows."""

import json
from html import escape
from pathlib import Path
from typing import Any

from apps.cli.data.summary import summary_lines
from apps.cli.data.words import say
from chains.home import write_file
from tuning.data.report import Report
from tuning.data.summary import histogram

MOST_FINDINGS = 300
MOST_TEXT = 1200
STYLE = """
:root{--ink:#1f2933;--soft:#6b7785;--line:#e4e7eb;--back:#fbfbf9;--card:#fff;--bar:#5b8def;--bad:#c53030;--warn:#b7791f;--note:#3b7a57}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:15px/1.6 system-ui,"Noto Sans KR","Apple SD Gothic Neo",sans-serif}
main{max-width:960px;margin:0 auto;padding:40px 24px 80px}h1{font-size:26px;margin:0 0 4px;letter-spacing:-.01em}h2{font-size:17px;margin:36px 0 12px}
.file{color:var(--soft);margin:0 0 20px;overflow-wrap:anywhere}.mark{display:inline-block;border-radius:99px;padding:2px 12px;font-weight:600;font-size:13px}
.mark.good{background:#e6f4ec;color:var(--note)}.mark.bad{background:#fdeaea;color:var(--bad)}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 20px}ul{margin:0;padding:0;list-style:none}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:12px;margin-bottom:12px}.tile b{display:block;font-size:24px;letter-spacing:-.02em}
.tile span{color:var(--soft);font-size:13px}.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(280px,1fr));gap:12px}
.charts h3{font-size:13px;color:var(--soft);font-weight:600;margin:0 0 8px}svg{width:100%;height:auto;display:block}rect{fill:var(--bar)}
text{fill:var(--soft);font-size:10px}table{width:100%;border-collapse:collapse;font-size:14px}td,th{text-align:left;vertical-align:top;padding:8px 10px;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:600;font-size:12px}td{overflow-wrap:anywhere}tr:last-child td{border-bottom:0}.error{color:var(--bad)}.warning{color:var(--warn)}.advice{color:var(--note)}
.level{font-weight:600;white-space:nowrap}.row{margin-bottom:12px}.turn{margin:8px 0;white-space:pre-wrap;overflow-wrap:anywhere}.who{display:block;color:var(--soft);font-size:12px;font-weight:600}
small{color:var(--soft)}
"""


def write_page(path: Path, report: Report, tongue: str, price: float | None) -> None:
    """Write the report to `path`, all or nothing."""
    parts = [
        f"<h1>{escape(say('report', tongue))}</h1><p class=file>{escape(report.file)} · {escape(report.title)}</p>",
        f"<p><span class='mark {'good' if report.good else 'bad'}'>{escape(say('good' if report.good else 'bad', tongue))}</span></p>",
        _tiles(report, tongue),
        f"<h2>{escape(say('summary', tongue))}</h2><ul class=card>"
        + "".join(f"<li>{escape(line)}</li>" for line in summary_lines(report, tongue, price)) + "</ul>",
        _charts(report, tongue),
        _findings(report, tongue),
        _samples(report, tongue),
    ]  # fmt: skip
    head = f"<!doctype html><html lang={tongue}><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    title = f"<title>{escape(say('report', tongue))}: {escape(Path(report.file).name)}</title>"
    page = f"{head}{title}<style>{STYLE}</style><main>{''.join(parts)}</main></html>"
    write_file(path, page.encode("utf-8", "replace"))


def _tiles(report: Report, tongue: str) -> str:
    found = [(f"{report.rows:,}", say("rows_label", tongue))]
    for level in ("error", "warning", "advice"):
        found.append((f"{sum(n for r, n in report.counts.items() if _level(r) == level):,}", say(level, tongue)))
    tiles = "".join(f"<div class='card tile'><b>{n}</b><span>{escape(word)}</span></div>" for n, word in found)
    return f"<div class=tiles>{tiles}</div>"


def _level(rule: str) -> str:
    from tuning.data.words import RULES

    return RULES[rule]


def _charts(report: Report, tongue: str) -> str:
    numbers = report.numbers
    if numbers is None or not len(numbers.characters):
        return ""
    charts = [
        ("tokens_histogram", numbers.tokens),
        ("characters_histogram", numbers.characters),
        ("messages_histogram", numbers.messages),
    ]
    drawn = "".join(
        f"<div class=card><h3>{escape(say(key, tongue))}</h3>{bars(histogram(values))}</div>"
        for key, values in charts
        if len(values)
    )
    return f"<h2>&nbsp;</h2><div class=charts>{drawn}</div><p><small>{escape(say('beyond', tongue))}</small></p>"


def bars(parts: list[tuple[int, int, int]]) -> str:
    """Return a histogram as SVG: each part's range and number in its title, the range's ends and the highest number as text."""
    width, height, most = 280, 110, max(count for _, _, count in parts)
    step = width / len(parts)
    drawn = "".join(
        f"<rect x={n * step + 0.5:.1f} y={14 + (height - 30) * (1 - count / most):.1f} width={max(step - 1, 0.8):.1f} "
        f"height={(height - 30) * count / most:.1f} rx=1.5><title>{low:,}–{high:,}: {count:,}</title></rect>"
        for n, (low, high, count) in enumerate(parts)
    )
    ends = f"<text x=0 y={height - 3}>{parts[0][0]:,}</text><text x={width} y={height - 3} text-anchor=end>{parts[-1][1]:,}</text>"
    return f"<svg viewBox='0 0 {width} {height}' role=img>{drawn}{ends}<text x=0 y=9>{most:,}</text></svg>"


def _findings(report: Report, tongue: str) -> str:
    title = f"<h2>{escape(say('findings', tongue))}</h2>"
    if not report.findings:
        return f"{title}<div class=card>{escape(say('no_findings', tongue))}</div>"
    heads = "".join(f"<th>{escape(say(key, tongue))}</th>" for key in ("place", "what", "todo"))
    rows = []
    for finding in report.findings[:MOST_FINDINGS]:
        problem, todo = finding.words(tongue)
        place = " ".join(part for part in (str(finding.line or ""), finding.field) if part)
        rows.append(f"<tr><td><span class='level {finding.level}'>{escape(say(finding.level, tongue))}</span> {escape(place)}</td>"
                    f"<td>{escape(problem)}</td><td>{escape(todo)}</td></tr>")  # fmt: skip
    shown: dict[str, int] = {}
    for finding in report.findings[:MOST_FINDINGS]:
        shown[finding.rule] = shown.get(finding.rule, 0) + 1
    more = [
        say("more", tongue, count=n - shown.get(rule, 0), rule=rule)
        for rule, n in report.counts.items()
        if n > shown.get(rule, 0)
    ]
    rest = "".join(f"<br><small>{escape(line)}</small>" for line in more)
    return f"{title}<div class=card><table><tr>{heads}</tr>{''.join(rows)}</table>{rest}</div>"


def _samples(report: Report, tongue: str) -> str:
    if report.numbers is None or not report.numbers.samples:
        return ""
    cards = [
        f"<div class='card row'><small>{line}</small>{_turns(row)}</div>"
        for line, row in sorted(report.numbers.samples, key=lambda s: s[0])
    ]
    return f"<h2>{escape(say('samples', tongue))}</h2>{''.join(cards)}"


def _turns(row: dict[str, Any]) -> str:
    messages = row.get("messages")
    if isinstance(messages, list) and all(isinstance(m, dict) for m in messages):
        turns = [(str(m.get("role")), m.get("content") if m.get("content") else m.get("tool_calls")) for m in messages]
    else:
        turns = [(key, value) for key, value in row.items() if value not in ("", None)]
    return "".join(
        f"<div class=turn><span class=who>{escape(who)}</span>{escape(_cut(value))}</div>" for who, value in turns
    )


def _cut(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + " …"

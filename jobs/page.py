"""Pages of reports: one HTML file that needs nothing else, and says the same every time."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

_STYLE = """
:root { color-scheme: light; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --blue: #1f6feb;
        --red: #cf222e; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 62rem; color: var(--ink);
       font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .5rem; }
h3 { font-size: .95rem; margin: 0 0 .25rem; color: var(--soft); font-weight: 600; }
.soft { color: var(--soft); margin: 0; } .verdict { font-size: 1.1rem; margin: 1.25rem 0; }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; }
.card { flex: 1 1 11rem; border: 1px solid var(--line); border-radius: .6rem;
        padding: .9rem 1.1rem; }
.card b { display: block; font-size: 1.7rem; font-weight: 600; color: var(--blue);
          font-variant-numeric: tabular-nums; }
.plots { margin-top: .75rem; display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; }
figure { flex: 1 1 24rem; margin: 0; max-width: 30rem; }
figure.wide { flex-basis: 100%; max-width: none; }
figure svg { width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
         white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; color: var(--soft); }
tr.best td { background: #ddf4ff; } td.worse { color: var(--red); } td.better { color: #1a7f37; }
details { margin-top: 1rem; } summary { cursor: pointer; color: var(--blue); }
"""


def write_page(path: Path, title: str, parts: Iterable[str]) -> None:
    """Write a page: `title` as its heading, then `parts` of HTML."""
    body = "\n".join((f"<h1>{html.escape(title)}</h1>", *parts))
    path.write_text(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n",
        encoding="utf-8",
    )


def section(title: str, *parts: str) -> str:
    """A headline and what stands below it."""
    return "\n".join((f"<h2>{html.escape(title)}</h2>", *parts))


def soft(text: str) -> str:
    """A remark in grey."""
    return f'<p class="soft">{text}</p>'


def cards(rows: Iterable[tuple[str, str, str]]) -> str:
    """Large numbers side by side: name, value, remark."""
    shown = "".join(
        f'<div class="card">{name}<b>{value}</b><span class="soft">{remark}</span></div>'
        for name, value, remark in rows
    )
    return f'<div class="cards">{shown}</div>'


def plots(figures: Iterable[tuple[str, str]], *, wide: bool = False) -> str:
    """SVGs side by side, each with a caption."""
    kind = ' class="wide"' if wide else ""
    shown = "".join(
        f"<figure{kind}>{svg}<figcaption>{caption}</figcaption></figure>"
        for svg, caption in figures
    )
    return f'<div class="plots">{shown}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], best: int | None = None) -> str:
    """A table of texts, escaped; a cell may end in " ▲" or " ▼" to be marked better or worse."""
    names = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    lines = [_row(row, marked=number == best) for number, row in enumerate(rows)]
    return f'<div class="scroll"><table><tr>{names}</tr>{"".join(lines)}</table></div>'


def details(summary: str, content: str) -> str:
    """`content`, shown when somebody asks for it."""
    return f"<details><summary>{html.escape(summary)}</summary>{content}</details>"


def _row(cells: Sequence[str], *, marked: bool) -> str:
    kind = ' class="best"' if marked else ""
    return f"<tr{kind}>{''.join(map(_cell, cells))}</tr>"


def _cell(text: str) -> str:
    kinds = {"▲": ' class="better"', "▼": ' class="worse"'}
    return f"<td{kinds.get(text[-1:], '')}>{html.escape(text)}</td>"

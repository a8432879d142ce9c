"""A comparison on the console, as CSV, as Markdown, and as one HTML page."""

import csv
import html
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mnist_lab.comparison.answers import Answer
from mnist_lab.comparison.columns import Grid, columns
from mnist_lab.comparison.gather import LeftOut
from mnist_lab.comparison.groups import Table
from mnist_lab.comparison.panels import NARROW, WIDE
from mnist_lab.comparison.sections import Section
from mnist_lab.comparison.varied import printable
from mnist_lab.reports.page import render
from mnist_lab.system.files import whole

MIN_NAME = 18  # what a name is given on the console, at least, before columns are left out
MAX_LEFT_OUT = 20  # on the console and per page; the rest are counted


def say(console: Console, sections: Sequence[Section], left_out: Sequence[LeftOut]) -> None:
    """Print everything but the figures."""
    for section in sections:
        console.print(Text(f"\n{section.title}", style="bold"))
        for grid in section.grids:
            _say(console, grid)
        for line in (*_lines(section.answers), *_lines(section.classes)):
            console.print(Text(line))
        for line in section.notes:
            console.print(Text(line, style="dim"))
    for line in _lines(_left_out(left_out)):
        console.print(Text(line), soft_wrap=True)  # a folder's name stays in one piece


def _lines(answer: Answer) -> list[str]:
    return [answer.lead] * bool(answer.lead) + [f"- {line}" for line in answer.lines]


def _say(console: Console, grid: Grid) -> None:
    """A table's leading columns, as many as fit: numbers are never cut, names are wrapped."""
    shown = RichTable(title=Text(grid.title), title_justify="left")
    room = console.width - 1
    for place, name in enumerate(grid.header):
        longest = max(len(row[place]) for row in grid.rows)
        words = name.replace(" %", "_%").split()
        width = min(longest, MIN_NAME) if place == grid.named else max(longest, *map(len, words))
        room -= width + 3  # with its border
        if room < 0 and place > grid.named:
            break
        if place == grid.named:
            shown.add_column(Text(name), overflow="fold")
        else:
            shown.add_column(Text(name), justify="right", width=width)
    fitting = len(shown.columns)
    for row in grid.rows:
        shown.add_row(*map(Text, row[:fitting]))
    console.print(shown)
    if fitting < len(grid.header):
        more = ", ".join(grid.header[fitting:])
        console.print(Text(f"No room here for {more}: compare.html has them.", style="dim"))


def _left_out(left_out: Sequence[LeftOut]) -> Answer:
    """Which runs count nowhere, and why."""
    if not left_out:
        return Answer("", [])
    runs = "One run is" if len(left_out) == 1 else f"{len(left_out):,} runs are"
    lines = [f"{run.folder}: {run.reason}" for run in left_out[:MAX_LEFT_OUT]]
    if len(left_out) > MAX_LEFT_OUT:
        lines.append(f"... and {len(left_out) - MAX_LEFT_OUT:,} more")
    return Answer(f"{runs} left out:", [printable(" ".join(line.split())) for line in lines])


def write(
    folder: Path, tables: Sequence[Table], sections: Sequence[Section], left_out: Sequence[LeftOut]
) -> list[Path]:
    """`compare.csv`, `compare.md`, `compare.html` and `compare_*.png` in a folder; their paths.

    Raises:
        OSError: the folder cannot be written to.
    """
    paths = [folder / f"compare.{suffix}" for suffix in ("csv", "md", "html")]
    with whole(paths[0], newline="", encoding="utf-8") as file:
        rows = columns(tables)
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with whole(paths[1], encoding="utf-8") as file:
        file.write(markdown(sections, left_out))
    with whole(paths[2], encoding="utf-8") as file:
        file.write(page(sections, left_out))
    for number, section in enumerate(sections, 1):
        for picture in section.pictures:
            place = f"{number}_" if len(sections) > 1 else ""
            paths.append(folder / f"compare_{place}{picture.name}.png")
            with whole(paths[-1], "wb") as file:
                file.write(picture.png)
    return paths


def markdown(sections: Sequence[Section], left_out: Sequence[LeftOut]) -> str:
    """To paste: answers, tables and notes."""
    lines: list[str] = []
    for section in sections:
        lines += [f"## {_marked(section.title)}", ""]
        lines += _list(section.answers)
        for grid in section.grids:
            table = [grid.header, ("---", "---", *["---:"] * (len(grid.header) - 2)), *grid.rows]
            lines += [f"**{_marked(grid.title)}**", ""]
            lines += [f"| {' | '.join(map(_marked, row))} |" for row in table]
            lines.append("")
        lines += _list(section.classes)
        lines += [f"{_marked(line)}  " for line in section.notes] + [""]
    lines += _list(_left_out(left_out))
    return "\n".join(lines).rstrip() + "\n"


def _list(answer: Answer) -> list[str]:
    lead = [_marked(answer.lead), ""] if answer.lead else []
    return [*lead, *(f"- {_marked(line)}" for line in answer.lines), ""]


def _marked(text: str) -> str:
    # A name stays a name: neither a cell's end, nor HTML, nor emphasis.
    for character in "\\|`*[]":
        text = text.replace(character, f"\\{character}")
    return html.escape(text, quote=False)


def page(sections: Sequence[Section], left_out: Sequence[LeftOut]) -> str:
    """One file that needs nothing else: figures inside, no script, no network."""
    # A hundred pixels of the page for an inch: a figure's text is as large as the page's.
    widths = {"wide": round(100 * WIDE), "narrow": round(100 * NARROW)}
    return render(
        "comparison/compare.html.jinja",
        sections=sections,
        left_out=_left_out(left_out),
        **widths,
    )

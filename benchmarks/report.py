"""RESULTS.md and its pictures, from the outcomes that were kept."""

from collections.abc import Iterable
from pathlib import Path

from benchmarks.outcomes import Bar, Figure, Outcome, Table, short

RESULTS = Path(__file__).parent / "RESULTS.md"

HEAD = """# Results

Written by `python -m benchmarks`; [how it measures](README.md). Figures are medians of several
runs, with the least and the most in brackets. CPU is user and system time of the processes named;
the load's is not in it. Wall time on a shared machine means little, so compare ratios within one
table, not figures across machines.
"""


def write(outcomes: Iterable[Outcome]) -> None:
    """Write RESULTS.md."""
    found = list(outcomes)
    parts = [HEAD, _bars(found), *map(section, found)]
    RESULTS.write_text("\n".join(parts), encoding="utf-8")


def _bars(outcomes: list[Outcome]) -> str:
    lines = [
        [one.what, _with_unit(short(one.most), one), _with_unit(str(one.found), one), _verdict(one)]
        for outcome in outcomes
        for one in outcome.bars
    ]
    return f"## Bars\n\n{_markdown(['what', 'at most', 'found', ''], lines)}"


def _with_unit(text: str, bar: Bar) -> str:
    return f"{text} {bar.unit}".strip()


def _verdict(bar: Bar) -> str:
    return "held" if bar.held else "**missed**"


def section(outcome: Outcome) -> str:
    """Return what is told of one row, with its bars."""
    parts = [f"## {outcome.title}\n"]
    parts += [_table(one) for one in outcome.tables]
    parts += [f"{note}\n" for note in outcome.notes]
    parts += [f"![{outcome.title}](plots/{outcome.row}.svg)\n"] if outcome.plots else []
    took = f"`python -m benchmarks {outcome.row}`, {outcome.seconds:.0f} s on {outcome.machine}"
    return "\n".join([*parts, f"{took}.\n"])


def _table(table: Table) -> str:
    title = f"{table.title}:\n\n" if table.title else ""
    return title + _markdown(table.columns, table.lines)


def _markdown(columns: list[str], lines: Iterable[Iterable[str | Figure]]) -> str:
    head = [columns, ["---"] * len(columns)]
    cells = [*head, *lines]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in cells)

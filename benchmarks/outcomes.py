"""What was found: tables of figures, and bars that they are held to; kept as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec

KEPT = Path(__file__).parent / "found"


@dataclass(frozen=True)
class Figure:
    """What was measured in several runs: the median, the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        """Sum up the values of all runs."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        if self.least == self.most:
            return short(self.median)
        return f"{short(self.median)} ({short(self.least)} to {short(self.most)})"


def short(value: float) -> str:
    """Return a number with three digits that mean something."""
    if value and abs(value) < 100:  # noqa: PLR2004 - two digits before the point
        return f"{value:.3g}"
    return f"{value:,.0f}"


@dataclass(frozen=True)
class Table:
    """Lines of texts and figures under the names of their columns."""

    title: str
    columns: list[str]
    lines: list[list[str | Figure]]


@dataclass(frozen=True)
class Bar:
    """What a figure must not be above."""

    what: str
    most: float
    found: Figure
    unit: str = ""

    @property
    def held(self) -> bool:
        """Whether the median is below it."""
        return self.found.median <= self.most


@dataclass(frozen=True)
class Plot:
    """Groups of bars side by side; each series has a figure for each group."""

    title: str
    unit: str
    groups: list[str]
    series: dict[str, list[Figure]]


@dataclass(frozen=True)
class Outcome:
    """All that one row of the benchmark has found."""

    row: str
    title: str
    tables: list[Table]
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    machine: str = ""
    seconds: float = 0.0


def keep(outcome: Outcome) -> None:
    """Write an outcome where the report looks for it."""
    KEPT.mkdir(exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(outcome), indent=1)
    (KEPT / f"{outcome.row}.json").write_bytes(text + b"\n")


def kept(row: str) -> Outcome | None:
    """Return what was found last of a row."""
    path = KEPT / f"{row}.json"
    return msgspec.json.decode(path.read_bytes(), type=Outcome) if path.exists() else None

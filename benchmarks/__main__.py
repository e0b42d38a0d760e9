"""The benchmark's command line: measure rows, keep what was found, write RESULTS.md."""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.metadata import version

import click

from benchmarks import plots, report
from benchmarks.outcomes import Outcome, keep, kept
from benchmarks.rows import (
    direct,
    fan_out,
    growth,
    idle,
    latency,
    match,
    peers,
    profile,
    rooms,
    storm,
)
from benchmarks.systems import SETTINGS

PEERS = "peers"
"""Not among all: it installs them."""

ROWS: dict[str, Callable[..., Outcome]] = {
    "fan-out": fan_out.row,
    "rooms": rooms.row,
    "direct": direct.row,
    "storm": storm.row,
    "idle": idle.row,
    "latency": latency.row,
    "match": match.row,
    "growth": growth.row,
    "profile": profile.row,
    PEERS: peers.row,
}
SHORT = ("fan-out", "storm", "idle", "latency")
"""What `make bench` measures."""

LIBRARIES = ("aiohttp", "aio-pika", "msgspec", "orjson", "PyJWT", "uvloop")


def machine() -> str:
    """Return what it runs on, with what, and how the service is set."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    settings = " ".join(f"{name}={value}" for name, value in SETTINGS.items())
    return f"{os.cpu_count()} cores, {system}; {python}, {libraries}; with {settings}"


@click.command()
@click.argument("rows", nargs=-1, type=click.Choice([*ROWS, "all"]))
@click.option("--quick", is_flag=True, help="Smaller and shorter, to see whether it works.")
@click.option("--keep/--no-keep", "keeps", default=True, help="Whether RESULTS.md is written.")
def main(rows: tuple[str, ...], *, quick: bool, keeps: bool) -> None:
    """Measure ROWS, by default those of `make bench`, and write benchmarks/RESULTS.md.

    Exits with 1 if a bar is missed.
    """
    missed = 0
    for name in _named(rows):
        began = time.monotonic()
        outcome = ROWS[name](quick=quick)
        outcome = replace(outcome, machine=machine(), seconds=time.monotonic() - began)
        click.echo(report.section(outcome))
        missed += sum(not bar.held for bar in outcome.bars)
        if keeps:
            keep(outcome)
            plots.draw(outcome)
    if keeps:
        report.write(found for name in ROWS if (found := kept(name)) is not None)
    sys.exit(1 if missed else 0)


def _named(rows: tuple[str, ...]) -> Iterable[str]:
    return [one for one in ROWS if one != PEERS] if "all" in rows else rows or SHORT


if __name__ == "__main__":
    main()

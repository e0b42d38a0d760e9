"""What it takes to know who wants a topic: the time of a match, and memory for subscriptions."""

import gc
import multiprocessing
import random
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from resource import getpagesize

from benchmarks.outcomes import Bar, Figure, Outcome, Table
from gateway.core.identity import Grants, Identity
from gateway.core.session import Session, Subscription
from gateway.core.subscriptions import Subscriptions
from router.core.interest_table import InterestTable
from shared.settings import Settings
from shared.topics.pattern import has_wildcard

RUNS = 3
MATCHES = 10_000
REPEATS = 200
NODES = ("node-1", "node-2")
SIZES = (10, 1_000, 100_000)
"""Patterns among which the wanted ones are found."""

CONNECTIONS = 10_000
PATTERNS = 100
"""Of each connection."""

ROOMS = 1_000
MEMBERS = 1_000
"""Connections that want one room."""

DEPTHS = (4, 8, 12)
DEPTH = 16
MOST_MATCH_US = 100.0
MOST_FORKS_US = 5_000.0
MOST_MB = 1_200.0

SHAPES: dict[str, Callable[[int], str]] = {
    "each pair its own user.{id}.*": lambda pair: f"user.{pair}.*",
    "each pair its own user.{id}.feed": lambda pair: f"user.{pair}.feed",
    f"{ROOMS:,} rooms": lambda pair: f"room.{(pair // PATTERNS + pair) % ROOMS}",
}
"""The pattern of each (connection, pattern) pair."""


@dataclass(frozen=True)
class Found:
    """One figure of one run."""

    what: str
    unit: str
    value: float
    most: float | None = None
    """What the median of all runs must not be above."""


def row(*, quick: bool = False) -> Outcome:
    """Measure everything, each run in fresh processes."""
    runs = [[*_times(), *_memory()] for _ in range(1 if quick else RUNS)]
    lines, bars = list[list[str | Figure]](), list[Bar]()
    for same in zip(*runs, strict=True):
        first, figure = same[0], Figure.of([one.value for one in same])
        lines.append([first.what, figure, first.unit])
        if first.most is not None:
            bars.append(Bar(first.what, first.most, figure, first.unit))
    note = "Times are CPU time of one match. Memory is what a fresh process grows by."
    return Outcome("match", "Matching", [Table("", ["what", "found", ""], lines)], bars, [note])


# ---- time ----------------------------------------------------------------------------------------


def _times() -> list[Found]:
    with _processes() as pool:
        parts = (router_times, gateway_times, room_time, fork_times)
        return [row for part in parts for row in pool.submit(part).result()]


def a_pattern(number: int) -> str:
    """Return one of as many patterns as one likes: of ten, three have wildcards."""
    match number % 10:
        case 7:
            return f"user.{number}.*"
        case 8:
            return f"shop.*.orders.{number}"
        case 9:
            return f"team.{number}.#"
        case _:
            return f"room.{number}.messages"


def a_topic(number: int) -> str:
    """Return a topic that the pattern of this number meets."""
    return a_pattern(number).replace("*", "berlin").replace("#", "board.cards.moved")


def topics(size: int) -> list[str]:
    """Return topics to look for; nobody wants every second."""
    chance = random.Random(size)  # noqa: S311 - a load, no secret
    return [a_topic(chance.randrange(2 * size)) for _ in range(MATCHES)]


def router_times() -> list[Found]:
    """Measure how long the router needs to find the nodes that want a topic."""
    rows = []
    for size in SIZES:
        table = InterestTable()
        for number in range(size):
            table.gained(NODES[number % 2], [a_pattern(number)], serial=1)
        p50_us, p99_us = _percentiles_us(table.wanted_by, topics(size))
        what = f"router: match among {size:,} patterns"
        rows += [Found(f"{what}, p50", "µs", p50_us)]
        rows += [Found(f"{what}, p99", "µs", p99_us, MOST_MATCH_US)]
    _, p99_us = _percentiles_us(lambda topic: table.wanted_at(topic, 2), topics(size)[:REPEATS])
    return [*rows, Found(f"{what} for a repeat, p99", "µs", p99_us, MOST_MATCH_US)]


def gateway_times() -> list[Found]:
    """Measure how long a gateway needs to find the connections that want a topic."""
    rows = []
    for size in SIZES:
        subscriptions: Subscriptions[int] = Subscriptions()
        for number in range(size):
            subscriptions.add(number // PATTERNS, [a_pattern(number)])
        _, p99_us = _percentiles_us(subscriptions.wanting, topics(size))
        what = f"gateway: match among {size:,} patterns, p99"
        rows.append(Found(what, "µs", p99_us, MOST_MATCH_US))
    return rows


def room_time() -> list[Found]:
    """Measure what a gateway needs for each connection, where many want the same."""
    subscriptions: Subscriptions[object] = Subscriptions()
    for _ in range(MEMBERS):
        subscriptions.add(object(), ["room.1"])
    us, _ = _percentiles_us(subscriptions.wanting, ["room.1"] * REPEATS)
    what = f"gateway: match that finds {MEMBERS:,} connections, p50, for each"
    return [Found(what, "ns", us * 1_000 / MEMBERS)]


def fork_times() -> list[Found]:
    """Measure what patterns take whose every word may be a wildcard."""
    rows = []
    for depth in DEPTHS:
        table = InterestTable()
        patterns = [".".join(words) for words in product("a*", repeat=depth)]
        table.gained(NODES[0], patterns)
        us, _ = _percentiles_us(table.wanted_by, [".".join("a" * depth)] * 20)
        what = f"router: match of {depth} words that meets {len(patterns):,} patterns, for each"
        rows.append(Found(what, "ns", us * 1_000 / len(patterns)))
    chance = random.Random(1)  # noqa: S311 - a load, no secret
    table = InterestTable()
    for _ in range(SIZES[-1]):
        table.gained(NODES[0], [".".join(chance.choices("ab*", k=DEPTH))])
    asked = [".".join(chance.choices("ab", k=DEPTH)) for _ in range(REPEATS)]
    what = f"router: match among {SIZES[-1]:,} patterns of {DEPTH} words out of a, b and *, p99"
    _, p99_us = _percentiles_us(table.wanted_by, asked)
    return [*rows, Found(what, "µs", p99_us, MOST_FORKS_US)]


def _percentiles_us(match: Callable[[str], object], asked: list[str]) -> tuple[float, float]:
    """Return the median and the 99th percentile, in CPU time: what else runs does not count."""
    times = []
    for topic in asked:
        began = time.thread_time_ns()
        match(topic)
        times.append(time.thread_time_ns() - began)
    times.sort()
    return times[len(times) // 2] / 1_000, times[len(times) * 99 // 100] / 1_000


# ---- memory --------------------------------------------------------------------------------------


def _memory() -> list[Found]:
    with _processes() as pool:
        sides = [
            (shape, pool.submit(gateway_memory, shape), pool.submit(router_memory, shape))
            for shape in SHAPES
        ]
    rows = []
    for shape, gateway, router in sides:
        what = f"{CONNECTIONS * PATTERNS:,} pairs, {shape}"
        tables = Settings().partitions if has_wildcard(SHAPES[shape](0).split(".")) else 1
        routers = tables * router.result()
        rows += [
            Found(f"{what}: gateway", "MB", gateway.result()),
            Found(f"{what}: routers, {tables} tables", "MB", routers),
            Found(f"{what}: together", "MB", gateway.result() + routers, MOST_MB),
        ]
    return rows


def gateway_memory(shape: str) -> float:
    """Return by how many megabytes a process grows that serves all connections."""
    pattern_of = SHAPES[shape]
    gc.disable()  # it would only take time: nothing is given up
    nobody = Identity("", Grants(), expires_at=0)
    subscriptions: Subscriptions[object] = Subscriptions()
    kept = []
    before = _resident_mb()
    for number in range(CONNECTIONS):
        session = Session(nobody, f"connection-{number}", PATTERNS)
        pairs = range(number * PATTERNS, (number + 1) * PATTERNS)
        patterns = [pattern_of(pair) for pair in pairs]
        now = time.monotonic()
        for pattern in patterns:  # as a request does that was confirmed
            session.patterns[pattern] = Subscription(number, now, number, confirmed=True)
        connection = object()
        subscriptions.add(connection, patterns)
        kept.append((session, connection))
    return _resident_mb() - before


def router_memory(shape: str) -> float:
    """Return by how many megabytes a process grows with the table of one partition, of two nodes.

    What has wildcards is in the table of every partition, what has none in one of them.
    """
    gc.disable()
    pattern_of = SHAPES[shape]
    table = InterestTable()
    before = _resident_mb()
    for number in range(CONNECTIONS):
        pairs = range(number * PATTERNS, (number + 1) * PATTERNS)
        patterns = [pattern_of(pair) for pair in pairs]
        table.gained(NODES[number % 2], patterns, number)
    return _resident_mb() - before


def _resident_mb() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * getpagesize() / 1e6


def _processes() -> ProcessPoolExecutor:
    """Return a pool whose processes do one thing each."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(2, mp_context=spawn, max_tasks_per_child=1)

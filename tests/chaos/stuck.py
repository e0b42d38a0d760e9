"""PURE: STUCK. Commands without an answer, clients without a Welcome, queues that do not drain."""

import math
from collections.abc import Iterator

from tests.chaos.history import Acked, Failed, Sent
from tests.chaos.reading import Command, Connection, Reading
from tests.chaos.violations import Breach, Violation

KEPT = (".terms.", ".log.")
"""Queues that are never empty: they hold what outlives everything."""

HARMLESS = frozenset({404, 429, 503})
"""Errors that a client with good commands may get."""

UNHEARD = frozenset({"freeze gateway", "silence clients", "delay clients"})
"""Faults through which a client cannot hear its gateway, whatever that does."""


def judge(reading: Reading) -> list[Violation]:
    """Find all that is stuck."""
    found = [*_commands(reading), *_clients(reading), *_queues(reading)]
    return [Violation(at, Breach.STUCK, what) for at, what in found]


Found = Iterator[tuple[float, str]]


def _commands(reading: Reading) -> Found:
    for command in reading.commands.values():
        for failure in command.failures:
            if failure.code not in HARMLESS:
                yield failure.at, f"{command.key} was answered with an Error {failure.code}"
        for sent, answer in _answered(command):
            connection = reading.connections[sent.connection]
            deadline = _deadline(reading, connection, sent.at)
            ended = min(reading.end, connection.closed)
            if answer is None and deadline < ended:
                yield sent.at, f"{command.key} got no answer on {sent.connection}"
            elif answer is not None and answer.at > deadline:
                took = answer.at - sent.at
                yield sent.at, f"{command.key} was answered after {took:.1f} s"


def _answered(command: Command) -> Iterator[tuple[Sent, Acked | Failed | None]]:
    """Pair each send with its answer: on one connection they come in the same order."""
    finals: list[Acked | Failed] = [
        *command.acks,
        *(one for one in command.failures if not one.queued),
    ]
    finals.sort(key=lambda one: one.at)
    for connection in command.connections:
        answers = iter([one for one in finals if one.connection == connection])
        for sent in command.sends:
            if sent.connection == connection:
                yield sent, next(answers, None)


def _deadline(reading: Reading, connection: Connection, sent: float) -> float:
    limits = reading.limits
    patience = limits.answer + limits.slack
    deadline = sent + patience + reading.stalls(sent, sent + patience)
    for fault in reading.disturbed(sent, deadline):
        if fault.name in UNHEARD and fault.target == connection.node:
            deadline = max(deadline, fault.end + patience)
    return deadline


def _clients(reading: Reading) -> Found:
    """Once the faults are over every client that wants to be here is welcomed."""
    limits = reading.limits
    for client, connections in reading.of_client.items():
        for since, until in _homeless(connections):
            deadline = reading.calm(since, limits.resume + limits.slack)
            deadline += reading.stalls(since, min(deadline, reading.end))
            if min(until, reading.end) > deadline:
                what = f"{client} was not welcomed within {limits.resume:.0f} s without a fault"
                yield since, what


def _homeless(connections: list[Connection]) -> Iterator[tuple[float, float]]:
    """Yield from when to when a client wanted to be connected and was not."""
    since: float | None = None
    for one in connections:
        since = one.opening if since is None else since
        if one.welcomed < math.inf:
            yield since, one.welcomed
            since = None
        if one.wanted:
            since = None
        elif one.closed < math.inf and since is None:
            since = one.closed
    if since is not None:
        yield since, math.inf


def _queues(reading: Reading) -> Found:
    for queue, messages in reading.queues.items():
        if messages and not any(part in queue for part in KEPT):
            yield reading.end, f"{messages} messages are left in {queue}"

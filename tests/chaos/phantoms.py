"""PURE: PHANTOM. What was received, counted or announced, and never was."""

import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.chaos.history import (
    PresenceSeen,
    Received,
    Subscribing,
    Unsubscribed,
)
from tests.chaos.reading import Command, Connection, Reading, covers
from tests.chaos.violations import Breach, Violation

NOT_FOUND = 404
UNAVAILABLE = 503


def judge(reading: Reading) -> list[Violation]:
    """Find all phantoms."""
    found = [*_messages(reading), *_counts(reading), *_presence(reading)]
    return [Violation(at, Breach.PHANTOM, what) for at, what in found]


Found = Iterator[tuple[float, str]]


# ---- messages ------------------------------------------------------------------------------------


def _messages(reading: Reading) -> Found:
    for connection in reading.connections.values():
        asked: set[str] = set()
        for event in connection.talk:
            if isinstance(event, Subscribing):
                asked.update(event.patterns)
            elif isinstance(event, Unsubscribed):
                asked.difference_update(event.patterns)
            elif isinstance(event, Received):
                why = _why_not(reading, connection, event, asked)
                if why:
                    yield event.at, f"{connection.name} got {event.kind} {event.key}: {why}"


def _why_not(
    reading: Reading, connection: Connection, event: Received, asked: set[str]
) -> str | None:
    """Return why this cannot have come here, if so."""
    command = reading.commands.get(event.key) if event.key else None
    if command is None or command.kind != event.kind or command.sends[0].at > event.at:
        return "nobody has sent it"
    if event.kind == "broadcast" and event.topic != command.to:
        return f"it came on {event.topic} and was sent to {command.to}"
    if event.kind == "broadcast" and not any(covers(pattern, event.topic) for pattern in asked):
        return f"{event.topic} was not asked for"
    if event.kind == "direct" and connection.user != command.to:
        return f"it is {command.to}'s"
    if _was_refused(command):
        return "its sender was told that it was not sent"
    return None


def _was_refused(command: Command) -> bool:
    """Whether every attempt was answered with an Error that says: this was not carried out."""
    refusals = [
        one
        for one in command.failures
        if (one.code == UNAVAILABLE and not one.outcome)
        or (one.code == NOT_FOUND and one.queued is False)
        or one.code not in {NOT_FOUND, UNAVAILABLE}
    ]
    return not command.acks and len(refusals) == len(command.sends)


# ---- counts --------------------------------------------------------------------------------------


def _counts(reading: Reading) -> Found:
    listeners: dict[str, list[tuple[Connection, float]]] = {}
    for command in reading.commands.values():
        for acked in command.acks:
            for name in acked.delivered_to:
                why = _why_not_there(reading, command, reading.by_id.get(name), acked.at)
                if why:
                    yield acked.at, f"delivered_to of {command.key} names {name}: {why}"
            if acked.recipients is None:
                continue
            if command.to not in listeners:
                listeners[command.to] = list(_listeners(reading, command.to))
            sent = command.sends[0].at
            possible = sum(
                1
                for one, since in listeners[command.to]
                if since <= acked.at and not _long_gone(reading, one, sent)
            )
            if acked.recipients > possible:
                what = f"{acked.recipients} recipients of {command.key}, at most {possible} exist"
                yield acked.at, what


def _why_not_there(
    reading: Reading, command: Command, connection: Connection | None, acked: float
) -> str | None:
    if connection is None:
        return "there is no such connection"
    if connection.user != command.to:
        return f"it is {connection.user}'s"
    if connection.opening > acked:
        return "it began later"
    if _long_gone(reading, connection, command.sends[0].at):
        return "it had been closed"
    return None


def _listeners(reading: Reading, topic: str) -> Iterator[tuple[Connection, float]]:
    """Yield the connections that ever asked for a topic, and since when."""
    for connection in reading.connections.values():
        for event in connection.talk:
            if isinstance(event, Subscribing) and any(
                covers(pattern, topic) for pattern in event.patterns
            ):
                yield connection, event.at
                break


def _long_gone(reading: Reading, connection: Connection, at: float) -> bool:
    """Whether the cluster must have known that a connection was closed."""
    return reading.calm(connection.closed, reading.limits.slack) < at


# ---- presence ------------------------------------------------------------------------------------


def _presence(reading: Reading) -> Found:
    truth = {user: _spans(connections) for user, connections in reading.of_user.items()}
    for watcher in reading.connections.values():
        seen = defaultdict(list)
        for event in watcher.talk:
            if isinstance(event, PresenceSeen):
                seen[event.user].append(event)
        for user, events in seen.items():
            until = min(watcher.closed, reading.end)
            for begin, end, online in _said(events, until):
                spans = truth.get(user, [])
                if online and (why := _wrongly_online(reading, spans, begin, end)):
                    yield begin, f"{watcher.name} was told that {user} is online: {why}"
                if not online and _wrongly_offline(reading, user, begin):
                    yield begin, f"{watcher.name} was told that {user} is offline"


def _spans(connections: list[Connection]) -> list[tuple[float, float]]:
    """Return when a user had at least one socket."""
    spans: list[tuple[float, float]] = []
    for one in sorted(connections, key=lambda one: one.opening):
        if spans and one.opening <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], one.closed))
        else:
            spans.append((one.opening, one.closed))
    return spans


def _said(events: list[PresenceSeen], until: float) -> Iterator[tuple[float, float, bool]]:
    """Yield from when to when a watcher had to believe what."""
    last = PresenceSeen(until, "", "", "")
    for event, following in pairwise([*events, last]):
        yield event.at, following.at, event.status != "offline"


def _wrongly_online(
    reading: Reading, spans: list[tuple[float, float]], begin: float, end: float
) -> str | None:
    """Return why a user cannot have been online all that time, if so."""
    seconds = reading.limits.presence + reading.limits.slack
    gone = -math.inf
    for opening, closed in [*spans, (math.inf, math.inf)]:
        wrong_since = max(reading.calm(gone, seconds), begin) if gone > -math.inf else begin
        if wrong_since < min(opening, end):
            return f"still {wrong_since - gone:.1f} s after the last socket"
        gone = closed
        if gone >= end:
            return None
    return None


def _wrongly_offline(reading: Reading, user: str, at: float) -> bool:
    """Whether a user had had a socket long before, that no fault can have taken for dead."""
    long = reading.limits.presence + reading.limits.slack
    return any(
        one.welcomed + long < at < one.closed
        and not any(fault.strikes(one.node) for fault in reading.disturbed(one.welcomed, at))
        and at - one.welcomed - _troubled(reading, one.welcomed, at) > long
        for one in reading.of_user[user]
    )


def _troubled(reading: Reading, begin: float, end: float) -> float:
    """Return how much of a time was full of faults, so that news of before may be late."""
    return sum(min(one.end, end) - max(one.begin, begin) for one in reading.disturbed(begin, end))

"""PURE: LOST. What was acknowledged, and did not come to whom it was promised."""

import math
from collections import defaultdict
from dataclasses import dataclass, field

from tests.chaos.history import (
    Key,
    Received,
    Recovery,
    Subscribed,
    Unsubscribing,
)
from tests.chaos.reading import Command, Connection, Reading, covers
from tests.chaos.violations import Breach, Violation


@dataclass
class Watch:
    """One client's claim on all that is broadcast under a pattern.

    It begins with a Status, survives a broken connection if the next Status says ``recovered``, and
    else ends there.
    """

    client: str
    pattern: str
    since: float
    certain_until: float = math.inf
    """What was acknowledged before this must have come."""

    until: float = math.inf


@dataclass
class Losses:
    """What was lost, and what was on its way to a plain client when its connection broke."""

    violations: list[Violation] = field(default_factory=list)
    in_flight: int = 0
    not_recovered: int = 0
    """How often a client was told, rightly, that it could not recover."""


def judge(reading: Reading) -> Losses:
    """Find all that is lost."""
    losses = Losses()
    received = {client: _received(connections) for client, connections in reading.of_client.items()}
    _judge_broadcasts(reading, losses, received)
    _judge_direct(reading, losses, received)
    return losses


def _received(connections: list[Connection]) -> set[Key]:
    return {
        event.key
        for one in connections
        for event in one.talk
        if isinstance(event, Received) and event.key is not None
    }


# ---- broadcasts ----------------------------------------------------------------------------------


def _judge_broadcasts(reading: Reading, losses: Losses, received: dict[str, set[Key]]) -> None:
    sent = defaultdict(list)
    for command in reading.commands.values():
        if command.kind == "broadcast":
            sent[command.to].append(command)
    for client in reading.of_client:
        watches = _watches(reading, losses, client, sent)
        for topic, commands in sent.items():
            concerned = [one for one in watches if covers(one.pattern, topic)]
            for command in commands if concerned else ():
                if command.acks and command.key not in received[client]:
                    _judge_missing(reading, losses, command, concerned)


def _judge_missing(
    reading: Reading, losses: Losses, command: Command, watches: list[Watch]
) -> None:
    """Decide whether somebody may complain that this never came."""
    sent, acked = command.sends[0].at, command.acks[-1]
    if acked.status != "delivered" and not reading.limits.history:
        return
    for watch in watches:
        if not watch.since < sent < watch.until:
            continue
        if acked.at < watch.certain_until:
            what = f"{watch.client} did not get {_name(command)}, acked {acked.status}"
            losses.violations.append(Violation(sent, Breach.LOST, what))
            return
        losses.in_flight += 1
        return


def _watches(
    reading: Reading, losses: Losses, client: str, sent: dict[str, list[Command]]
) -> list[Watch]:
    claims = Claims(client, reading.limits.in_flight)
    for connection in reading.of_client[client]:
        for event in connection.talk:
            if isinstance(event, Subscribed):
                for pattern in event.patterns:
                    recovery = _recovery(event, pattern)
                    watch = claims.standing.get(pattern)
                    _judge_refusal(reading, losses, watch, recovery, event.at, sent)
                    claims.begin(pattern, event.at, recovery)
            elif isinstance(event, Unsubscribing):
                claims.give_up(event)
        if connection.closed < math.inf:
            claims.interrupt(connection.closed, reading.in_flight_since(connection.closed))
    return claims.found


@dataclass
class Claims:
    """All watches of one client, and those that stand."""

    client: str
    in_flight: float
    found: list[Watch] = field(default_factory=list)
    standing: dict[str, Watch] = field(default_factory=dict)

    def begin(self, pattern: str, at: float, recovery: Recovery | None) -> None:
        """Go on with a watch, or begin a new one."""
        watch = self.standing.get(pattern)
        if watch is None or not _goes_on(watch, recovery):
            watch = self.standing[pattern] = Watch(self.client, pattern, at)
            self.found.append(watch)
        watch.until = watch.certain_until = math.inf

    def give_up(self, event: Unsubscribing) -> None:
        """End the watches that the client wants no more."""
        for pattern in event.patterns:
            if (watch := self.standing.pop(pattern, None)) is not None:
                watch.until, watch.certain_until = event.at, event.at - self.in_flight

    def interrupt(self, closed: float, certain_until: float) -> None:
        """Note that the connection broke; those that were broken before stay as they are."""
        for watch in self.standing.values():
            if watch.until == math.inf:
                watch.until, watch.certain_until = closed, certain_until


def _recovery(event: Subscribed, pattern: str) -> Recovery | None:
    return next((one for one in event.recoveries if one.pattern == pattern), None)


def _goes_on(watch: Watch, recovery: Recovery | None) -> bool:
    return watch.until == math.inf or (recovery is not None and recovery.recovered)


def _judge_refusal(
    reading: Reading,
    losses: Losses,
    watch: Watch | None,
    recovery: Recovery | None,
    at: float,
    sent: dict[str, list[Command]],
) -> None:
    """A ``recovered: false`` is a loss, unless so much was missed that history may have let go."""
    if watch is None or recovery is None or recovery.recovered:
        return
    limits = reading.limits
    away = at - watch.certain_until
    missed = (
        sum(1 for one in commands if watch.certain_until < one.sends[0].at < at)
        for topic, commands in sent.items()
        if covers(watch.pattern, topic)
    )
    if away < limits.retention_seconds and max(missed, default=0) < limits.retention_messages:
        what = f"{watch.client} was away {away:.1f} s and could not recover {watch.pattern}"
        losses.violations.append(Violation(at, Breach.LOST, what))
    else:
        losses.not_recovered += 1


# ---- direct messages -----------------------------------------------------------------------------


def _judge_direct(reading: Reading, losses: Losses, received: dict[str, set[Key]]) -> None:
    for command in reading.commands.values():
        if command.kind != "direct" or not command.acks:
            continue
        connections = reading.of_user[command.to]
        if not any(one.is_open_at(reading.end) for one in connections):
            continue  # it waits in the mailbox of somebody who has not come back
        if any(command.key in received[one.client] for one in connections):
            continue
        if _was_written_to_dying_plain_clients(reading, command):
            losses.in_flight += 1
            continue
        what = f"{command.to} did not get {_name(command)}, acked {command.acks[-1].status}"
        losses.violations.append(Violation(command.sends[0].at, Breach.LOST, what))


def _was_written_to_dying_plain_clients(reading: Reading, command: Command) -> bool:
    acked = command.acks[-1]
    holders = [reading.by_id[one] for one in acked.delivered_to if one in reading.by_id]
    return bool(holders) and all(
        not one.resumes and acked.at >= reading.in_flight_since(one.closed) for one in holders
    )


def _name(command: Command) -> str:
    return f"{command.kind} {command.key.client}#{command.key.number} to {command.to}"

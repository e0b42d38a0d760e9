"""PURE: what of a history is worth a number."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.chaos.reading import Fault, Reading

UNAVAILABLE = 503


@dataclass(frozen=True)
class Recovery:
    """How long after a fault commands were acknowledged again."""

    fault: str
    target: str
    begin: float
    end: float
    first_after_begin: float
    """From its begin to the first Ack of a command that was sent after it."""

    first_after_end: float
    everywhere: float
    """From its begin until for every topic and user something sent after it was acknowledged."""


@dataclass(frozen=True)
class Figures:
    """The numbers of a run."""

    sent: int
    acked: int
    unavailable: int
    """Errors 503; a command may have had several."""

    unanswered: int
    """Commands whose every answer was lost with its connection."""

    received: int
    filtered: int = 0
    excused: int = 0
    in_flight: int = 0
    not_recovered: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)
    recoveries: tuple[Recovery, ...] = ()


def figures(
    reading: Reading, *, received: int, filtered: int, excused: int, in_flight: int, refused: int
) -> Figures:
    """Count; what the judges have counted on their way is handed in."""
    commands = reading.commands.values()
    return Figures(
        sent=len(commands),
        acked=sum(1 for one in commands if one.acks),
        unavailable=sum(
            1 for one in commands for failure in one.failures if failure.code == UNAVAILABLE
        ),
        unanswered=sum(1 for one in commands if not one.acks and not one.failures),
        received=received,
        filtered=filtered,
        excused=excused,
        in_flight=in_flight,
        not_recovered=refused,
        statuses=Counter(one.acks[-1].status for one in commands if one.acks),
        recoveries=tuple(_recovery(reading, fault) for fault in reading.faults),
    )


def _recovery(reading: Reading, fault: Fault) -> Recovery:
    after_begin = _first_acks(reading, fault.begin)
    after_end = _first_acks(reading, fault.end)
    spoken_to = {one.to for one in reading.commands.values() if one.sends[-1].at > fault.begin}
    everywhere = max((after_begin.get(one, math.inf) for one in spoken_to), default=math.inf)
    return Recovery(
        fault.name,
        fault.target,
        fault.begin,
        fault.end,
        min(after_begin.values(), default=math.inf) - fault.begin,
        min(after_end.values(), default=math.inf) - fault.end if after_end else math.inf,
        everywhere - fault.begin,
    )


def _first_acks(reading: Reading, since: float) -> dict[str, float]:
    """Return when something that was sent to a topic or user after a moment was first acked."""
    firsts: dict[str, float] = {}
    for command in reading.commands.values():
        if command.acks and command.sends[0].at > since:
            at = command.acks[0].at
            firsts[command.to] = min(at, firsts.get(command.to, math.inf))
    return firsts

"""PURE: the delivering commands of one connection, so that repeats are known (A7)."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from gateway.core.replies import Reply
from shared.trail import Step

REPEAT_SECONDS = 120.0
"""How long the id of a command is remembered."""

MAX_REMEMBERED = 10_000


class Sent(Protocol):
    """A command on its way to the owner."""

    number: int | None
    """None while it waits for its turn."""


@dataclass(slots=True)
class Attempt:
    """A delivering command under one id of this connection, for when it is repeated (A7)."""

    message_id: str
    destination: str
    at: float
    sent: Sent | None = None
    step: Step | None = None
    """What its outcome ends; see ``Trail``."""

    reply: Reply | None = None
    """What ended it, if it succeeded."""


class Attempts:
    """What was attempted under which id."""

    __slots__ = ("_by_id",)

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, Attempt] | None = None  # most clients attempt nothing

    def find(
        self, command_id: str | None, message_id: str, destination: str, *, now: float
    ) -> Attempt:
        """Return the earlier attempt under this id, or note this one as the first."""
        by_id = self._by_id = self._by_id or OrderedDict()
        _forget_old(by_id, now)
        fresh = Attempt(message_id, destination, now)
        if command_id is None:
            return fresh
        earlier = by_id.get(command_id)
        if earlier is not None and (earlier.reply or earlier.destination == destination):
            return earlier
        by_id.pop(command_id, None)  # it failed, and the id now means something else
        by_id[command_id] = fresh
        return fresh


def _forget_old(by_id: "OrderedDict[str, Attempt]", now: float) -> None:
    while by_id:
        oldest = next(iter(by_id.values()))
        if now - oldest.at <= REPEAT_SECONDS and len(by_id) < MAX_REMEMBERED:
            return
        by_id.popitem(last=False)

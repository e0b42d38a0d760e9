"""PURE: replies in the order of their commands (protocol decision R1)."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.batch import Batch
from shared.messages import frames

UNKNOWN = "unknown"
"""The type of a message that could not be read."""


@dataclass(slots=True)
class Request:
    """A message of a client that awaits its reply."""

    began_at: float
    """When it came; monotonic, in seconds."""

    batch: Batch | None = None
    """What it is an operation of."""

    size: int = 0
    """How many bytes or characters it has."""

    type: str = UNKNOWN
    """As metrics know it: there are few, whatever clients send."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What ends a command."""

    frames: list[bytes]
    afterwards: Callable[[], None] | None = None
    """What may only happen once the frames are written."""

    failed: bool = False
    """Whether the command was of no effect, and an Error says so."""

    request: Request | None = None
    """What it answers."""


def done(command_id: str | None, *before: bytes) -> Reply:
    """Return the reply to a command that has succeeded, after what is written before its Ack."""
    return Reply([*before] if command_id is None else [*before, frames.ack(command_id, "ok")])


@dataclass(eq=False, slots=True)
class Slot:
    """The place of one command's reply."""

    reply: Reply | None = None


class Lane:
    """Replies to commands of one kind; each waits for those before it."""

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots: list[Slot] = []  # few; an empty deque takes 0.6 kB for each connection

    def open(self) -> Slot:
        """Take the next place."""
        self._slots.append(slot := Slot())
        return slot

    def fill(self, slot: Slot, reply: Reply) -> list[Reply]:
        """Put a reply in its place; return all that are due now, in order."""
        slot.reply = reply
        due: list[Reply] = []
        while self._slots and (first := self._slots[0].reply) is not None:
            del self._slots[0]
            due.append(first)
        return due

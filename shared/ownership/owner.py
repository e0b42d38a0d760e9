"""PURE: what the owners of both services do alike."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from shared.messages import codec
from shared.messages.envelopes import Sender
from shared.messages.records import (
    Behind,
    CaughtUp,
    KeyUsed,
    Met,
    NumberReached,
    Parted,
    Record,
    UserErased,
)
from shared.ownership.effects import Effects
from shared.ownership.idempotency import IdempotencyKeys
from shared.recent import Recent

MAX_PROCESSES = 10_000

Given = TypeVar("Given")


class PartitionOwner(Generic[Given]):
    """Knows the nodes' lives and repeats by their numbers, stamps, and gathers effects.

    ``Given`` is what an owner remembers of a delivery until it knows who took it.
    """

    persistent = False

    def __init__(self) -> None:
        self.lives: dict[str, Sender] = {}
        """The lives that have reported to this partition and are not known to be over."""

        self.behind: set[str] = set()
        """Inboxes that have refused a batch, and whose nodes do not know that yet."""

        self.keys = IdempotencyKeys()
        self._effects = Effects()
        self._gathered: list[Given] = []
        self._given: list[Given] = []
        self._last_numbers: Recent[str, int] = Recent(MAX_PROCESSES)
        self._last_stamp_ms = 0

    @property
    def serial(self) -> int:
        """How many broadcasts the partition has kept; see ``Owner``."""
        return 0

    def replay(self, record: Record) -> None:
        """Learn what an earlier owner wrote; see ``Owner``."""
        match record:
            case Met(sender=sender):
                self.lives[sender.node_id] = sender
            case Parted(sender=sender):
                if self.lives.get(sender.node_id) == sender:
                    del self.lives[sender.node_id]
            case Behind():
                self.behind.add(record.inbox)
            case CaughtUp():
                self.behind.discard(record.inbox)
            case NumberReached():
                self._counted(record.process, record.number)
            case KeyUsed():
                self.keys.keep(record)
            case UserErased():
                self.keys.forget(record.user_id)

    def checkpoint(self) -> Iterator[bytes]:
        """Yield the records that rebuild what both services know; see ``Owner``."""
        for sender in self.lives.values():
            yield codec.encode(Met(sender))
        for inbox in self.behind:
            yield codec.encode(Behind(inbox))
        for process, number in self._last_numbers.items():
            yield codec.encode(NumberReached(process, number))
        for used in self.keys:
            yield codec.encode(used)

    def fell_behind(self, inbox: str) -> None:
        """Learn that an inbox has refused a batch; see ``Owner``."""
        if inbox not in self.behind:
            self._write(Behind(inbox))

    def caught_up(self, inbox: str) -> None:
        """Learn that the node knows, or is gone; see ``Owner``."""
        self._write(CaughtUp(inbox))

    def _met(self, sender: Sender) -> None:
        """A life reports to this partition: whoever owns it next must know of it."""
        if self.lives.get(sender.node_id) != sender:
            self._write(Met(sender))

    def _parted(self, sender: Sender) -> None:
        if self.lives.get(sender.node_id) == sender:
            self._write(Parted(sender))

    def _write(self, record: Record) -> None:
        """Have a record appended, and know it from now on like a successor will."""
        self._effects.records.append(codec.encode(record))
        self.replay(record)

    def _is_repeat(self, sender: Sender, number: int) -> bool:
        """Whether this number of this process was seen before; it counts as seen from now on."""
        if number and number <= self._last_numbers.get(sender.process, 0):
            return True
        self._counted(sender.process, number)
        return False

    def _counted(self, process: str, number: int) -> None:
        if number > self._last_numbers.get(process, 0):
            self._last_numbers.put(process, number)

    def _stamp(self, now_ms: int) -> int:
        """Return the time to stamp with: never less than the last one."""
        self._last_stamp_ms = max(self._last_stamp_ms, now_ms)
        return self._last_stamp_ms

    def take(self) -> Effects | None:
        """Hand out what has gathered; see ``Owner``."""
        if not self._effects and not self._gathered:
            return None
        effects, self._effects = self._effects, Effects()
        self._given += self._gathered
        self._gathered = []
        return effects

"""PURE: the messages that wait for users who are not here (protocol decision R3)."""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile

from shared.messages.deliveries import DirectDelivery

PARTITION_BYTES = 33_554_432
"""What all mailboxes of one partition may take, for whoever writes to users that do not exist."""

SENDER_BYTES = 4_194_304
"""What one sender's messages may take in all mailboxes of one partition."""

ENTRY_BYTES = 512
"""What an entry takes beside its payload and metadata, so that many small ones are not free."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one user's mailbox may hold."""

    messages: int = 1000
    size: int = 1_048_576
    """Bytes of payload and metadata."""

    seconds: int = 86_400
    per_sender: int = 200


@dataclass
class Mailbox:
    """What waits for one user, in order."""

    entries: OrderedDict[str, DirectDelivery] = field(default_factory=OrderedDict)
    size: int = 0
    senders: Counter[str] = field(default_factory=Counter)

    def put(self, entry: DirectDelivery) -> None:
        """Take an entry in, in its place by id: ids rise with time, and within a gateway always."""
        later = list(takewhile(lambda one: one > entry.message_id, reversed(self.entries)))
        self.entries[entry.message_id] = entry
        for one in reversed(later):
            self.entries.move_to_end(one)
        self.size += size_of(entry)
        self.senders[entry.from_user] += 1

    def remove(self, message_id: str) -> DirectDelivery:
        """Take an entry out, and return it."""
        entry = self.entries.pop(message_id)
        self.size -= size_of(entry)
        self.senders[entry.from_user] -= 1
        if not self.senders[entry.from_user]:
            del self.senders[entry.from_user]
        return entry


def size_of(entry: DirectDelivery) -> int:
    """Return the bytes an entry counts for in its mailbox."""
    return len(entry.payload) + len(entry.metadata)


def weight_of(entry: DirectDelivery) -> int:
    """Return the bytes an entry counts for in its partition."""
    return size_of(entry) + ENTRY_BYTES


class Mailboxes:
    """All mailboxes of one partition."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._count = 0
        self._weight = 0
        self._weights: Counter[str] = Counter()
        """By sender."""

        self._boxes: dict[str, Mailbox] = {}
        self._leaving: dict[str, set[str]] = {}

    def has_room(self, entry: DirectDelivery, *, now_ms: int) -> bool:
        """Whether a message may be taken in within the limits; one that is there already may."""
        box = self._fresh(entry.target_user, now_ms)
        limits = self._limits
        return entry.message_id in box.entries or (
            not self.expired(entry, now_ms)
            and len(box.entries) < limits.messages
            and box.size + size_of(entry) <= limits.size
            and self._weight + weight_of(entry) <= PARTITION_BYTES
            and self._weights[entry.from_user] + weight_of(entry) <= SENDER_BYTES
            and box.senders[entry.from_user] < limits.per_sender
        )

    def put(self, entry: DirectDelivery) -> None:
        """Take a message in, whatever the limits, in its place by id; once is enough."""
        box = self._boxes.setdefault(entry.target_user, Mailbox())
        self._leaving.get(entry.target_user, set()).discard(entry.message_id)
        if entry.message_id not in box.entries:
            box.put(entry)
            self._count += 1
            self._weight += weight_of(entry)
            self._weights[entry.from_user] += weight_of(entry)

    def drain(self, user_id: str, *, now_ms: int) -> list[DirectDelivery]:
        """Return all that waits for a user and is not on its way already, in order.

        It stays here until it is removed, or comes back by ``stayed``.
        """
        leaving = self._leaving.get(user_id, set())
        entries = self._fresh(user_id, now_ms).entries
        due = [one for one in entries.values() if one.message_id not in leaving]
        if due:
            self._leaving[user_id] = leaving | {one.message_id for one in due}
        return due

    def waits(self, user_id: str, *, now_ms: int) -> bool:
        """Whether anything waits for a user that is not on its way."""
        box, leaving = self._fresh(user_id, now_ms), self._leaving.get(user_id, set())
        return len(box.entries) > len(leaving)

    def remove(self, user_id: str, message_ids: list[str]) -> None:
        """Let messages go that were handed over."""
        box, leaving = self._boxes.get(user_id), self._leaving.get(user_id, set())
        for message_id in message_ids:
            leaving.discard(message_id)
            if box is not None and message_id in box.entries:
                self._remove(box, message_id)
        self._tidy(user_id)

    def erase(self, user_id: str) -> int:
        """Drop what waits for a user and what waits from them; return how many messages."""
        doomed = [one for one in self if user_id in {one.target_user, one.from_user}]
        for entry in doomed:
            self.remove(entry.target_user, [entry.message_id])
        return len(doomed)

    def stayed(self, user_id: str, message_id: str) -> None:
        """Learn that a message could not be handed over."""
        self._leaving.get(user_id, set()).discard(message_id)

    def sweep(self, *, now_ms: int) -> None:
        """Drop what has expired everywhere."""
        for user_id in list(self._boxes):
            self._fresh(user_id, now_ms)
            self._tidy(user_id)

    @property
    def users(self) -> list[str]:
        """Return those for whom something waits."""
        return list(self._boxes)

    def __iter__(self) -> Iterator[DirectDelivery]:
        for box in self._boxes.values():
            yield from box.entries.values()

    def __len__(self) -> int:
        """Count the messages that wait."""
        return self._count

    def _fresh(self, user_id: str, now_ms: int) -> Mailbox:
        """Return a user's mailbox without what has expired; a new one is not kept yet."""
        box = self._boxes.get(user_id, Mailbox())
        for entry in [one for one in box.entries.values() if self.expired(one, now_ms)]:
            self._remove(box, entry.message_id)
            self._leaving.get(user_id, set()).discard(entry.message_id)
        return box

    def _remove(self, box: Mailbox, message_id: str) -> None:
        entry = box.remove(message_id)
        self._count -= 1
        self._weight -= weight_of(entry)
        self._weights[entry.from_user] -= weight_of(entry)
        if not self._weights[entry.from_user]:
            del self._weights[entry.from_user]

    def _tidy(self, user_id: str) -> None:
        if user_id in self._boxes and not self._boxes[user_id].entries:
            del self._boxes[user_id]
        if not self._leaving.get(user_id, True):
            del self._leaving[user_id]

    def expired(self, entry: DirectDelivery, now_ms: int) -> bool:
        """Whether a message may not wait, or wait any longer."""
        seconds: float = self._limits.seconds
        if entry.ttl is not None:
            seconds = min(seconds, entry.ttl)
        return now_ms >= entry.sent_at_ms + seconds * 1000

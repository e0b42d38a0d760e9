"""PURE: the messages that wait for users who are not here (protocol decision R3)."""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field

from shared.messages.envelopes import DirectDelivery

PARTITION_BYTES = 67_108_864
"""What all mailboxes of one partition may hold, for whoever writes to users that do not exist."""


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
        """Take an entry in, at the end."""
        self.entries[entry.message_id] = entry
        self.size += size_of(entry)
        self.senders[entry.from_user] += 1

    def remove(self, message_id: str) -> None:
        """Take an entry out."""
        entry = self.entries.pop(message_id)
        self.size -= size_of(entry)
        self.senders[entry.from_user] -= 1
        if not self.senders[entry.from_user]:
            del self.senders[entry.from_user]


def size_of(entry: DirectDelivery) -> int:
    """Return the bytes an entry counts for."""
    return len(entry.payload) + len(entry.metadata)


class Mailboxes:
    """All mailboxes of one partition."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._size = 0
        self._boxes: dict[str, Mailbox] = {}

    def store(self, entry: DirectDelivery, *, now_ms: int) -> bool:
        """Keep a message within the limits; return whether it is kept. Once is enough."""
        box = self._fresh(entry.target_user, now_ms)
        if entry.message_id in box.entries:
            return True
        limits = self._limits
        fits = (
            not self.expired(entry, now_ms)
            and len(box.entries) < limits.messages
            and box.size + size_of(entry) <= limits.size
            and self._size + size_of(entry) <= PARTITION_BYTES
            and box.senders[entry.from_user] < limits.per_sender
        )
        if fits:
            self._boxes.setdefault(entry.target_user, box).put(entry)
            self._size += size_of(entry)
        return fits

    def keep(self, entry: DirectDelivery) -> None:
        """Keep a message that was accepted before, whatever the limits; in its old place."""
        box = self._boxes.setdefault(entry.target_user, Mailbox())
        if entry.message_id in box.entries:
            return
        later = [one for one in box.entries.values() if one.message_id > entry.message_id]
        box.put(entry)
        self._size += size_of(entry)
        for one in later:
            box.entries.move_to_end(one.message_id)

    def drain(self, user_id: str, *, now_ms: int) -> list[DirectDelivery]:
        """Take out all that waits for a user, in order."""
        box = self._fresh(user_id, now_ms)
        self._boxes.pop(user_id, None)
        self._size -= box.size
        return list(box.entries.values())

    def sweep(self, *, now_ms: int) -> None:
        """Drop what has expired everywhere."""
        for user_id in list(self._boxes):
            if not self._fresh(user_id, now_ms).entries:
                del self._boxes[user_id]

    def __len__(self) -> int:
        """Count the messages that wait."""
        return sum(len(box.entries) for box in self._boxes.values())

    def _fresh(self, user_id: str, now_ms: int) -> Mailbox:
        """Return a user's mailbox without what has expired; a new one is not kept yet."""
        box = self._boxes.get(user_id, Mailbox())
        for entry in [one for one in box.entries.values() if self.expired(one, now_ms)]:
            box.remove(entry.message_id)
            self._size -= size_of(entry)
        return box

    def expired(self, entry: DirectDelivery, now_ms: int) -> bool:
        """Whether a message may not wait, or wait any longer."""
        seconds: float = self._limits.seconds
        if entry.ttl is not None:
            seconds = min(seconds, entry.ttl)
        return now_ms >= entry.sent_at_ms + seconds * 1000

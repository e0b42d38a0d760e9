"""PURE: adding up what the owner and the nodes say about one command (A5)."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from shared.messages.answers import (
    Answer,
    DirectReceipt,
    Located,
    Receipt,
    Routed,
    Stored,
    Subscribers,
)


@dataclass
class Tally:
    """Answers to one command, in whatever order they come."""

    message_id: str = ""
    """The message as it was delivered; of an earlier command if this was a repeat."""

    routed: Routed | None = None
    located: Located | None = None
    stored: Stored | None = None
    receipts: dict[str, int] = field(default_factory=dict)
    written: dict[str, list[str]] = field(default_factory=dict)
    users: dict[str, dict[str, int]] = field(default_factory=dict)
    """By node and user: how many connections want the topic that was asked about (P3)."""

    pending: bool = False
    """Whether some connection has the direct message and has not confirmed it (R2)."""

    def add(self, answer: Answer) -> None:
        """Take one answer in. A node may report a direct message in parts (S7)."""
        match answer:
            case Routed():
                self.routed, self.message_id = answer, answer.message_id
            case Located():
                self.located, self.message_id = answer, answer.message_id
            case Stored():
                self.stored, self.message_id = answer, answer.message_id
            case Receipt():
                self.receipts[answer.node_id] = answer.recipients
            case Subscribers():
                self.receipts[answer.node_id] = sum(answer.users.values())
                self.users[answer.node_id] = answer.users
            case DirectReceipt(pending=True):
                self.pending = True
            case DirectReceipt():
                self.written.setdefault(answer.node_id, []).extend(answer.delivered_to)

    @property
    def answered(self) -> bool:
        """Whether the owner has said what becomes of the command."""
        return bool(self.routed or self.located or self.stored)

    @property
    def complete(self) -> bool:
        """Whether nothing more is to be waited for."""
        if self.routed is not None:
            return self.receipts.keys() >= set(self.routed.nodes)
        if self.delivered_to or self.stored is not None:
            return self.stored is not None or self._all_written
        return False

    @property
    def _all_written(self) -> bool:
        return self.located is not None and self.written.keys() >= set(self.located.nodes)

    @property
    def outcome(self) -> Literal["delivered", "pending", "queued", "lost"]:
        """What becomes of a direct message (A2, R2)."""
        if self.delivered_to:
            return "delivered"
        if self.pending and self.stored is None:
            return "pending"
        # whatever no node has reported, the broker keeps
        return "queued" if self.stored is None or self.stored.queued else "lost"

    @property
    def exact(self) -> bool:
        """Whether every node that may have the broadcast has reported."""
        return self.complete and self.routed is not None and self.routed.complete

    @property
    def recipients(self) -> int:
        """How many connections were written the broadcast, as far as is known."""
        return sum(self.receipts.values())

    @property
    def subscribers(self) -> Counter[str]:
        """By user: how many of their connections want the topic, as far as is known (P3)."""
        counted: Counter[str] = Counter()
        for users in self.users.values():
            counted.update(users)
        return counted

    @property
    def delivered_to(self) -> list[str]:
        """Which connections were written the direct message, as far as is known."""
        return sorted({one for written in self.written.values() for one in written})

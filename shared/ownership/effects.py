"""PURE: what an owner wants published after a step, first in first out for each address."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Protocol

from shared.broker.ports import Address
from shared.messages.envelopes import RouteBroadcast, Sender


@dataclass
class Effects:
    """What is to be published: deliveries first; answers only once it is known who took those."""

    deliveries: dict[Address, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    answers: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    """By the name of the asking gateway's answers queue."""

    announcements: list[RouteBroadcast] = field(default_factory=list)
    """What this service says on a topic, through the router."""

    def __bool__(self) -> bool:
        return bool(self.deliveries or self.answers or self.announcements)


class Owner(Protocol):
    """Serves one partition for one reign. Pure: it answers with effects, and never waits."""

    def perform(
        self, sender: Sender, answers: str, number: int, envelope: bytes, now_ms: int
    ) -> None:
        """Carry out one command or fact of a sender.

        Raises:
            Undecodable: it is none; nothing was changed.
        """

    def node_ended(self, sender: Sender, now_ms: int, *, clean: bool) -> None:
        """Forget what a life held that is over; clean if it said so itself or lives on anew."""

    def tick(self, now_ms: int) -> None:
        """Do what has become due."""

    def take(self) -> Effects | None:
        """Hand out what has gathered since the last time; None if nothing has.

        Effects without deliveries are handed out too if ``settle`` has something to answer.
        """

    def settle(self, refused: frozenset[Address]) -> None:
        """Learn which addresses did not take what was taken last; answers may follow."""

"""PURE: what an owner wants published after a step, first in first out for each address."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from shared.broker.ports import Address
from shared.messages.envelopes import RouteBroadcast, Sender
from shared.messages.records import Record
from shared.trail import Details


@dataclass(frozen=True, slots=True)
class Traced:
    """What an owner has done with a message; see ``Trail``."""

    step: str
    message_id: str
    trace: str
    details: Details


@dataclass
class Effects:
    """What is to be published.

    Announcements first, then records before deliveries; answers only once all that is confirmed.
    """

    announcements: list[RouteBroadcast] = field(default_factory=list)
    """What this service says on a topic, through the router."""

    records: list[bytes] = field(default_factory=list)
    """What the partition's log is to hold."""

    deliveries: dict[Address, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    marks: set[Address] = field(default_factory=set)
    """Whom to tell how far the partition has come, if they do not know."""

    answers: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    """By the name of the asking gateway's answers queue."""

    traced: list[Traced] = field(default_factory=list)
    """The messages that all this is about."""

    def __bool__(self) -> bool:
        return any(
            (
                self.deliveries,
                self.answers,
                self.announcements,
                self.records,
                self.marks,
                self.traced,
            )
        )


class Owner(Protocol):
    """Serves one partition for one reign. Pure: it answers with effects, and never waits."""

    lives: dict[str, Sender]
    """By node: those that have reported to this partition, and are not known to be over."""

    behind: set[str]
    """Inboxes that have refused a batch, and whose nodes do not know that yet."""

    persistent: bool
    """Whether its deliveries must outlive the broker's memory."""

    @property
    def serial(self) -> int:
        """How many broadcasts the partition has kept."""

    def replay(self, record: Record) -> None:
        """Learn what an earlier owner wrote; in order, before anything is performed."""

    def begin(self, log: str, now_ms: int, *, whole: bool) -> int | None:
        """Begin to serve. ``whole``: the log was replayed from its very beginning.

        Returns:
            the moment from which older records are wanted, too; None if none are.
        """

    def replay_older(self, record: Record) -> None:
        """Learn, while serving, what was written before the last checkpoint."""

    def filled(self, now_ms: int) -> None:
        """All older records that there are were replayed."""

    def checkpoint(self) -> Iterator[bytes]:
        """Yield the records that rebuild the present state."""

    def perform(
        self, sender: Sender, answers: str, number: int, envelope: bytes, now_ms: int
    ) -> str:
        """Carry out one command or fact of a sender; ``number`` is 0 if it does not count.

        Returns:
            the id that was minted for the message in it; empty if there is none.

        Raises:
            Undecodable: it is none; nothing was changed.
        """

    def fell_behind(self, inbox: str) -> None:
        """Learn that an inbox has refused a batch."""

    def caught_up(self, inbox: str) -> None:
        """Learn that the node of an inbox knows what it has missed, or is gone."""

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

"""Towards the broker: commands and facts, each to the partition that owns the truth it needs."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from gateway.connection import Connection
from shared.broker import topology
from shared.broker.batching import Life, PartitionLink, Room, Submission
from shared.errors import BrokerUnavailable
from shared.messages import codec
from shared.messages.envelopes import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionsReport,
    DirectMessageReturned,
    DisconnectUser,
    EraseUser,
    HistoryAsked,
    InterestGained,
    InterestLost,
    InterestReport,
    MailboxAsked,
    Opened,
    PeopleAsked,
    PresenceAsked,
    PresenceSet,
    RecoveryAsked,
    ReplayAsked,
    RouteBroadcast,
    RouteDirectMessage,
    Settled,
    SubscribersAsked,
)
from shared.partitions import partition_of
from shared.topics.pattern import has_wildcard, parse_pattern, user_of
from shared.trail import Trail

Item = TypeVar("Item")

REPORT_PART = 200
"""Patterns or connections in one part of a report, so that a part fits a batch."""


class Uplink:
    """The numbered links of this node, one to each partition of the router and of presence."""

    def __init__(self, partitions: int, count_batch: Callable[[int], object], trail: Trail) -> None:
        self.partitions = partitions
        self._trail = trail
        self._room = Room()
        self._router = self._links_to(topology.ROUTER, count_batch)
        self._presence = self._links_to(topology.PRESENCE, count_batch)
        self._introductions: dict[str, list[asyncio.Future[None]]] = {}

    @property
    def waiting(self) -> int:
        """How many commands and facts have not left yet."""
        return sum(link.waiting for link in (*self._router, *self._presence))

    def require_room(self) -> None:
        """Refuse what would lead to facts, which never are.

        Raises:
            BrokerUnavailable: too much waits already.
        """
        if self._room.is_taken():
            raise BrokerUnavailable("Too many commands wait for the broker")

    async def run(self, life: Callable[[], Awaitable[Life]]) -> None:
        """Send what is submitted, for ever."""
        async with asyncio.TaskGroup() as group:
            for link in (*self._router, *self._presence):
                group.create_task(link.run(life))

    def pause_facts(self) -> None:
        """Drop facts from here on: the life is over."""
        for link in (*self._router, *self._presence):
            link.pause_facts()
        self._introductions.clear()

    def resume_facts(self) -> None:
        """Take facts again: a new life begins, and reports everything first."""
        for link in (*self._router, *self._presence):
            link.resume_facts()

    # ---- topics ----------------------------------------------------------------------------------

    def broadcast(self, command: RouteBroadcast, number: int | None = None) -> Submission:
        """Send a broadcast to its topic's partition.

        Raises:
            BrokerUnavailable: too much waits already.
        """
        link = self._router[partition_of(command.topic, self.partitions)]
        submission = link.submit(codec.encode(command), number=number, low=command.low)
        return self._traced(command, submission)

    def gain(self, patterns: list[str]) -> None:
        """Tell that the node now wants these patterns."""
        confirmed = defaultdict(list)
        for partition, mine in self._by_partition(patterns).items():
            submission = self._fact(self._router[partition], InterestGained(mine))
            for pattern in mine:
                confirmed[pattern].append(submission.confirmed)
        self._introductions.update(confirmed)

    def lose(self, patterns: list[str]) -> None:
        """Tell that the node no longer wants these patterns."""
        for pattern in patterns:
            self._introductions.pop(pattern, None)
        for partition, mine in self._by_partition(patterns).items():
            self._fact(self._router[partition], InterestLost(mine))

    async def introduced(self, patterns: Iterable[str]) -> None:
        """Wait until the broker has confirmed what introduced each pattern to the node (T9).

        Raises:
            BrokerUnavailable: it was not.
        """
        for pattern in patterns:
            confirms = self._introductions.get(pattern, [])
            for confirmed in confirms:
                await asyncio.shield(confirmed)
            if self._introductions.get(pattern) is confirms:
                del self._introductions[pattern]

    def report_interest(
        self, partitions: Iterable[int], patterns: Iterable[str]
    ) -> list[Submission]:
        """Tell some partitions all that the node wants of them."""
        interest = self._by_partition(patterns)
        return [
            self._fact(self._router[partition], InterestReport(part, first, last))
            for partition in partitions
            for part, first, last in _parts(interest.get(partition, []))
        ]

    def report_all(
        self, patterns: Iterable[str], connections: Iterable[Connection]
    ) -> list[Submission]:
        """Tell every partition everything."""
        everywhere = range(self.partitions)
        interest = self.report_interest(everywhere, patterns)
        return interest + self.report_people(everywhere, connections)

    def ask_history(self, command: HistoryAsked) -> None:
        """Ask for a page of a topic's history.

        Raises:
            BrokerUnavailable: too much waits already.
        """
        link = self._router[partition_of(command.topic, self.partitions)]
        link.submit(codec.encode(command))

    def ask_subscribers(self, command: SubscribersAsked) -> None:
        """Ask who is subscribed to a topic.

        Raises:
            BrokerUnavailable: too much waits already.
        """
        link = self._router[partition_of(command.topic, self.partitions)]
        link.submit(codec.encode(command))

    def ask_missed(self, partition: int, command: RecoveryAsked) -> None:
        """Ask a partition for what a client has missed.

        Raises:
            BrokerUnavailable: too much waits already.
        """
        self._router[partition].submit(codec.encode(command))

    def ask_replay(self, partition: int, command: ReplayAsked) -> None:
        """Ask a partition for what this node has missed."""
        self._router[partition].insist(codec.encode(command))

    def partitions_of(self, pattern: str) -> list[int]:
        """Return the partitions of the router that may know of a pattern's topics."""
        return sorted(self._by_partition([pattern]))

    def _by_partition(
        self, patterns: Iterable[str], served_by: Callable[[str], str] = str
    ) -> dict[int, list[str]]:
        """Sort patterns by the partitions that may know of them; one with wildcards is for all.

        ``served_by`` gives the name, of a topic or a user, that decides about a concrete one.
        """
        found: dict[int, list[str]] = defaultdict(list)
        for pattern in patterns:
            if has_wildcard(parse_pattern(pattern)):
                for partition in range(self.partitions):
                    found[partition].append(pattern)
            else:
                found[partition_of(served_by(pattern), self.partitions)].append(pattern)
        return found

    # ---- people ----------------------------------------------------------------------------------

    def direct_message(
        self, command: RouteDirectMessage, number: int | None = None, *, low: bool = False
    ) -> Submission:
        """Send a direct message to its target's partition.

        Raises:
            BrokerUnavailable: too much waits already.
        """
        link = self._link_of(command.target_user)
        submission = link.submit(codec.encode(command), number=number, low=low)
        return self._traced(command, submission)

    def opened(self, connection: Connection) -> Submission:
        """Tell that a connection is about to be welcomed."""
        fact = ConnectionOpened(connection.opened)
        return self._fact(self._link_of(connection.user_id), fact)

    def closed(self, connection: Connection) -> None:
        """Tell that a connection is gone."""
        fact = ConnectionClosed(connection.user_id, connection.id)
        self._fact(self._link_of(connection.user_id), fact)

    def returned(self, command: DirectMessageReturned) -> Submission:
        """Hand a direct message back that nobody here can take."""
        return self._link_of(command.delivery.target_user).insist(codec.encode(command))

    def settled(self, partition: int, fact: Settled) -> None:
        """Tell a partition that what the node was given before is handed on, or back."""
        self._presence[partition].insist(codec.encode(fact))

    def ask_mailbox(self, command: MailboxAsked) -> None:
        """Ask for what waits for a user whose connection had let it pass."""
        self._link_of(command.user_id).insist(codec.encode(command))

    def show(self, command: PresenceSet) -> Submission:
        """Tell how a user is to be seen.

        Raises:
            BrokerUnavailable: too much waits already.
        """
        return self._link_of(command.user_id).submit(codec.encode(command))

    def ask_people(self, ask: str, users: list[str]) -> list[str]:
        """Ask how users are to be seen; return what each owner's answer will be about.

        Raises:
            BrokerUnavailable: too much waits already.
        """
        by_partition: dict[int, list[str]] = defaultdict(list)
        for user_id in users:
            by_partition[partition_of(user_id, self.partitions)].append(user_id)
        for partition, mine in by_partition.items():
            command = PeopleAsked(f"{ask}.{partition}", mine)
            self._presence[partition].submit(codec.encode(command))
        return [f"{ask}.{partition}" for partition in by_partition]

    def disconnect(self, command: DisconnectUser) -> None:
        """Have all connections of a user ended.

        Raises:
            BrokerUnavailable: too much waits already.
        """
        self._link_of(command.user_id).submit(codec.encode(command))

    def erase(self, command: EraseUser) -> list[str]:
        """Have all that is kept of a user dropped; return what each owner's answer will be about.

        Raises:
            BrokerUnavailable: too much waits already; what was asked before is done.
        """
        links = (*self._router, *self._presence)
        asks = [f"{command.ask}.{number}" for number in range(len(links))]
        for ask, link in zip(asks, links, strict=True):
            link.submit(codec.encode(EraseUser(ask, command.user_id)))
        return asks

    def ask_presence(self, connection_id: str, patterns: list[str]) -> None:
        """Ask every partition that may know one for the online users that these patterns meet."""
        for partition, mine in self._by_partition(patterns, user_of).items():
            self._presence[partition].insist(codec.encode(PresenceAsked(connection_id, mine)))

    def report_people(
        self, partitions: Iterable[int], connections: Iterable[Connection]
    ) -> list[Submission]:
        """Tell some partitions all connections whose users belong to them."""
        people: dict[int, list[Opened]] = defaultdict(list)
        for one in connections:
            people[partition_of(one.user_id, self.partitions)].append(one.opened)
        return [
            self._fact(self._presence[partition], ConnectionsReport(part, first, last))
            for partition in partitions
            for part, first, last in _parts(people.get(partition, []))
        ]

    def _traced(
        self, command: RouteBroadcast | RouteDirectMessage, submission: Submission
    ) -> Submission:
        """Note how long it takes until the broker has a message."""
        step = self._trail.begin("send", command.message_id, command.trace)
        submission.confirmed.add_done_callback(lambda _: step.end())
        return submission

    def _links_to(self, service: str, count_batch: Callable[[int], object]) -> list[PartitionLink]:
        queues = [topology.commands(service, partition) for partition in range(self.partitions)]
        return [
            PartitionLink(topology.queue_address(one), room=self._room, count_batch=count_batch)
            for one in queues
        ]

    def _link_of(self, user_id: str) -> PartitionLink:
        return self._presence[partition_of(user_id, self.partitions)]

    def _fact(self, link: PartitionLink, fact: object) -> Submission:
        return link.tell(codec.encode(fact))


def _parts(items: list[Item]) -> Iterator[tuple[list[Item], bool, bool]]:
    """Split a report; yield each part, whether it is the first, and whether it is the last."""
    starts = range(0, max(len(items), 1), REPORT_PART)
    for start in starts:
        yield items[start : start + REPORT_PART], start == 0, start == starts[-1]

"""What one partition knows of people, and tells others: the half of its owner that is presence."""

from collections.abc import Iterator
from typing import Generic

from presence_service.core.directory import Diff, Directory, Location, Person
from presence_service.core.sightings import asked_for, sighting
from shared.messages import codec
from shared.messages.envelopes import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionsReport,
    PresenceAsked,
    PresenceSet,
    Sender,
)
from shared.messages.records import Announced, Record
from shared.ownership.leases import Leases
from shared.ownership.owner import Given, PartitionOwner

MAX_UNSETTLED = 10_000


class PeopleOwner(PartitionOwner[Given], Generic[Given]):
    """Knows who is where, and sees to it that others hear of every change once (P1, P2)."""

    def __init__(self, leases: Leases) -> None:
        super().__init__()
        self.directory = Directory()
        self._leases = leases
        self._early: dict[str, PresenceSet] = {}
        self._asks: list[tuple[Sender, PresenceAsked]] = []
        """What came before the reports that it needs."""

    def replay(self, record: Record) -> None:
        """Learn what an earlier owner wrote; see ``Owner``."""
        match record:
            case Announced(status="offline"):
                self.directory.forget(record.user_id)
            case Announced():
                self.directory.restore(
                    Person(
                        record.user_id,
                        record.status,
                        record.last_seen_ms,
                        claims=record.claims,
                        set_by_client=record.set_by_client,
                    )
                )
            case _:
                super().replay(record)

    def checkpoint(self) -> Iterator[bytes]:
        """Yield the records that rebuild the present state; see ``Owner``."""
        yield from super().checkpoint()
        for person in self.directory.people.values():
            yield codec.encode(_announced(person))

    def _note(
        self,
        sender: Sender,
        fact: ConnectionOpened | ConnectionClosed | ConnectionsReport,
        now_ms: int,
    ) -> None:
        match fact:
            case ConnectionOpened():
                diff = self.directory.opened(sender, fact.connection, now_ms=now_ms)
                self._changed(diff, now_ms)
            case ConnectionClosed():
                self.directory.closed(fact.user_id, [fact.connection_id], now_ms=now_ms)
                self._closed(fact.user_id, sender.node_id)
            case ConnectionsReport():
                self._reported(sender, fact, now_ms)

    def _reported(self, sender: Sender, command: ConnectionsReport, now_ms: int) -> None:
        self._met(sender)
        diff = self.directory.report(
            sender, command.connections, first=command.first, last=command.last, now_ms=now_ms
        )
        self._changed(diff, now_ms)
        if command.last:
            asks, self._asks = self._asks, []
            for asker, asked in asks:
                self._asked(asker, asked)

    def _changed(self, diff: Diff, now_ms: int) -> None:
        for user_id in diff.joined:
            self._announce(self.directory.people[user_id])
        for location in diff.appeared:
            if (early := self._early.pop(location.user_id, None)) is not None:
                self._show(early, now_ms)
            self._appeared(location, now_ms)

    def _appeared(self, location: Location, now_ms: int) -> None:
        """A connection is there that was not known before."""

    def _closed(self, user_id: str, node_id: str) -> None:
        """A connection on this node is gone."""

    def _announce(self, person: Person) -> None:
        """Tell others, and whoever owns this partition next that they were told."""
        self._effects.announcements.append(sighting(person))
        self._effects.records.append(codec.encode(_announced(person)))

    def _left(self, diff: Diff, now_ms: int) -> None:
        for user_id in diff.left:
            self._announce(Person(user_id, "offline", now_ms))

    def _show(self, command: PresenceSet, now_ms: int) -> None:
        user_id, status, metadata = command.user_id, command.status, command.metadata
        if self.directory.shown(user_id, status, metadata, now_ms=now_ms):
            self._announce(self.directory.people[user_id])
        elif self._unsure and len(self._early) < MAX_UNSETTLED:
            self._early[user_id] = command

    @property
    def _unsure(self) -> bool:
        """Whether a node that lives has not reported yet."""
        return bool(self._leases.alive.keys() - self.directory.reported)

    def _asked(self, sender: Sender, command: PresenceAsked) -> None:
        """Tell an asker who is online; again, when another node has reported, if one has not."""
        if self._unsure and len(self._asks) < MAX_UNSETTLED:
            self._asks.append((sender, command))
        for person in asked_for(command.patterns, self.directory):
            self._effects.announcements.append(
                sighting(person, node_id=sender.node_id, connection_id=command.connection_id)
            )

    def node_ended(self, sender: Sender, now_ms: int, *, clean: bool) -> None:
        """Forget the connections of a life that is over; see ``Owner``."""
        self._parted(sender)
        self._left(self.directory.ended(sender, clean=clean, now_ms=now_ms), now_ms)

    def tick(self, now_ms: int) -> None:
        """Let those go whose grace is over; see ``Owner``."""
        if not self._unsure:
            self.directory.miss(now_ms=now_ms)
        self._left(self.directory.due(now_ms=now_ms), now_ms)


def _announced(person: Person) -> Announced:
    return Announced(
        person.user_id,
        person.status,
        person.last_seen_ms,
        person.claims,
        person.set_by_client,
    )

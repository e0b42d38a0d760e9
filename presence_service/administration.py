"""What back ends ask about users, and do to them: the part of the owner that obeys operators."""

from collections.abc import Iterator
from typing import TypeAlias

from msgspec.structs import replace

from presence_service.core.mailbox import Limits
from presence_service.core.revocations import Revocations
from presence_service.mail import MailOwner, direct_queue
from shared.messages import codec
from shared.messages.answers import Erased, People, Routed, Seen
from shared.messages.deliveries import Dismissal
from shared.messages.envelopes import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionsReport,
    DisconnectUser,
    EraseUser,
    Opened,
    PeopleAsked,
    Sender,
)
from shared.messages.records import Record, Revoked, UserErased
from shared.ownership.leases import Leases

Administrative: TypeAlias = PeopleAsked | DisconnectUser | EraseUser


class AdministeredOwner(MailOwner):
    """Tells where users are, sends them away, keeps out whose token is revoked, erases them."""

    def __init__(self, leases: Leases, limits: Limits, max_connections: int = 0) -> None:
        super().__init__(leases, limits)
        self._max_connections = max_connections
        """Of one user; 0 for no limit."""

        self.revocations = Revocations()
        self._turned_away: dict[str, tuple[Sender, Dismissal]] = {}
        """By connection: those that may not be here and are not known to be closed."""

    def replay(self, record: Record) -> None:
        """Learn what an earlier owner wrote; see ``Owner``."""
        match record:
            case Revoked():
                self.revocations.note(record)
            case UserErased():
                self.mailboxes.erase(record.user_id)
                super().replay(record)
            case _:
                super().replay(record)

    def checkpoint(self) -> Iterator[bytes]:
        """Yield the records that rebuild the present state; see ``Owner``."""
        yield from super().checkpoint()
        for revoked in self.revocations:
            yield codec.encode(revoked)

    def _administer(self, answers: str, command: Administrative, now_ms: int) -> None:
        """Obey; to do so twice does no harm."""
        match command:
            case PeopleAsked():
                people = [self._seen(user_id) for user_id in command.users]
                answer: People | Routed | Erased = People(command.ask, people, not self._unsure)
            case DisconnectUser():
                answer = self._disconnect(answers, command)
            case EraseUser():
                messages = self.mailboxes.erase(command.user_id)
                self._write(UserErased(command.user_id, self.serial, now_ms))
                answer = Erased(command.ask, messages)
        self._effects.answers[answers].append(codec.encode(answer))

    def _seen(self, user_id: str) -> Seen:
        person = self.directory.people.get(user_id)
        if person is None:
            return Seen(user_id, "offline", 0, b"{}", {})
        where = {one: sender.node_id for one, sender in person.connections.items()}
        return Seen(user_id, person.status, person.last_seen_ms, person.metadata, where)

    def _disconnect(self, answers: str, command: DisconnectUser) -> Routed:
        """Have every node that holds the user, or may, end the connections."""
        user_id, revoke_ms = command.user_id, command.revoke_ms
        if revoke_ms:
            self._write(Revoked(user_id, revoke_ms))
        alive = self._leases.alive
        known = self.directory.nodes_of(user_id) | (alive.keys() - self.directory.reported)
        nodes = sorted(known & alive.keys())
        dismissal = Dismissal(user_id, revoke_ms, ask=command.ask, report_to=answers)
        for node_id in nodes:
            self._dismiss(alive[node_id], dismissal)
        return Routed(command.ask, command.ask, nodes, complete=True)

    def _dismiss(self, sender: Sender, dismissal: Dismissal) -> None:
        self._effects.deliveries[direct_queue(sender)].append(codec.encode(dismissal))

    def _note(
        self,
        sender: Sender,
        fact: ConnectionOpened | ConnectionClosed | ConnectionsReport,
        now_ms: int,
    ) -> None:
        """Take note of connections, but for those that come with a revoked token, or too many."""
        match fact:
            case ConnectionOpened(connection=opened) if self._is_turned_away(
                sender, opened
            ) or self._is_one_too_many(sender, opened):
                return
            case ConnectionClosed():
                self._turned_away.pop(fact.connection_id, None)
            case ConnectionsReport():
                if fact.first:
                    self._turned_away = {
                        name: one
                        for name, one in self._turned_away.items()
                        if one[0].node_id != sender.node_id
                    }
                welcome = [one for one in fact.connections if not self._is_turned_away(sender, one)]
                fact = replace(fact, connections=welcome)
        super()._note(sender, fact, now_ms)

    def _is_turned_away(self, sender: Sender, opened: Opened) -> bool:
        if not (revoked_ms := self.revocations.covering(opened)):
            return False
        self._turn_away(sender, Dismissal(opened.user_id, revoked_ms, opened.connection_id))
        return True

    def _is_one_too_many(self, sender: Sender, opened: Opened) -> bool:
        """Turn a user's newest connection away if there are enough (W15).

        One that is reported stays: it was let in when others were not known.
        """
        known = self.directory.connections_of(opened.user_id)
        if not self._max_connections or opened.connection_id in known:
            return False
        staying = [one for one, at in known.items() if at not in self._leases.draining]
        if len(staying) < self._max_connections:
            return False
        dismissal = Dismissal(opened.user_id, 0, opened.connection_id, crowded=True)
        self._turn_away(sender, dismissal)
        return True

    def _turn_away(self, sender: Sender, dismissal: Dismissal) -> None:
        self._turned_away[dismissal.connection_id] = sender, dismissal
        self._dismiss(sender, dismissal)

    def node_ended(self, sender: Sender, now_ms: int, *, clean: bool) -> None:
        """Forget the connections of a life that is over; see ``Owner``."""
        super().node_ended(sender, now_ms, clean=clean)
        gone = [name for name, (at, _) in self._turned_away.items() if at == sender]
        for connection_id in gone:
            del self._turned_away[connection_id]

    def tick(self, now_ms: int) -> None:
        """Turn away again who is still there, for a node may not have been told; see ``Owner``."""
        super().tick(now_ms)
        for sender, dismissal in self._turned_away.values():
            self._dismiss(sender, dismissal)

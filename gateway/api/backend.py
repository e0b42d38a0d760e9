"""Performs what back ends ask for."""

import asyncio
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog
from msgspec import Raw, json
from ulid import ULID

from gateway.answers import RECEIPT_SECONDS
from gateway.api import structs
from gateway.api.cluster import cluster_state
from gateway.commands import WRITTEN_SECONDS
from gateway.core.rights import topic_words
from gateway.core.tally import Tally
from gateway.node import Node
from shared.broker.listening import listen
from shared.clock import wall_clock_ms
from shared.errors import BadRequest, Forbidden, NotFound, OutcomeUnknown, ServiceError
from shared.messages import frames, server
from shared.messages.answers import Seen
from shared.messages.checks import Headers, check_printable, read_headers
from shared.messages.deliveries import Audience
from shared.messages.envelopes import HistoryAsked, RouteBroadcast, RouteDirectMessage
from shared.messages.forms import Form
from shared.overview import Overview
from shared.trail import Step

log = structlog.get_logger()

MAX_PAYLOAD_BYTES = 65_536
LOOK_SECONDS = 2.2
"""Everybody speaks once a second, and a rate needs two words."""

Body = TypeVar("Body")
Query = TypeVar("Query")


@dataclass(frozen=True)
class Call(Generic[Body, Query]):
    """One checked request."""

    speaker: str
    """On whose behalf something is said, unless the body names somebody else."""

    key: str
    """The ``Idempotency-Key``; empty without one (A7)."""

    path: Mapping[str, str]
    query: Query
    body: Body


class BackEnd:
    """What back ends can do; each method is an endpoint.

    They raise BadRequest, Forbidden and NotFound for what is asked, BrokerUnavailable if nothing
    was done, and OutcomeUnknown if it may have been.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    # ---- saying something ------------------------------------------------------------------------

    async def broadcast(
        self, call: Call[structs.BroadcastRequest, None]
    ) -> structs.BroadcastResult:
        """Broadcast on a topic."""
        body = call.body
        words = topic_words(body.topic, at="topic")
        if words[0] == "presence":
            raise Forbidden("Only the presence service speaks on this topic", topic=body.topic)
        headers, metadata = _headers(call)
        tally = await self._said(
            RouteBroadcast(
                message_id=self._mint("broadcast"),
                topic=body.topic,
                payload=bytes(body.payload),
                metadata=metadata,
                from_user=body.from_user or call.speaker,
                idempotency_key=call.key or headers.idempotency_key or "",
                ttl=headers.ttl,
                low=headers.priority == "low",
            )
        )
        return structs.BroadcastResult(
            tally.message_id, "delivered" if tally.exact else "partial", tally.recipients
        )

    async def direct_message(
        self, call: Call[structs.DirectMessageRequest, None]
    ) -> structs.DirectMessageResult:
        """Send a direct message to a user."""
        body = call.body
        check_printable(body.target_user, at="target_user")
        headers, metadata = _headers(call)
        tally = await self._sent(
            RouteDirectMessage(
                message_id=self._mint("dm"),
                target_user=body.target_user,
                from_user=body.from_user or call.speaker,
                payload=bytes(body.payload),
                metadata=metadata,
                ttl=headers.ttl,
                idempotency_key=call.key or headers.idempotency_key or "",
            )
        )
        if tally.outcome == "lost":
            raise NotFound(f"User {body.target_user} not found or not connected", queued=False)
        return structs.DirectMessageResult(tally.message_id, tally.outcome, tally.delivered_to)

    async def notify(
        self, call: Call[structs.NotificationRequest, None]
    ) -> structs.NotificationResult:
        """Notify all, or users, or the subscribers of topics, or connections (X5)."""
        message_id = self._mint("notification")
        data = _notification(call.body, message_id, wall_clock_ms())
        audience = Audience()
        match call.body.audience:
            case structs.Users(users=users):
                return await self._notify_users(call, users, message_id, data)
            case structs.Topics(topics=topics):
                audience.topics = topics
            case structs.NamedConnections(connections=connections):
                for connection_id in connections:
                    check_printable(connection_id, at="audience.connections")
                audience.connections = connections
        tally = await self._said(
            RouteBroadcast(
                message_id=message_id,
                topic="",
                payload=data,
                from_user=call.speaker,
                idempotency_key=call.key,
                ttl=0.0,
                form=Form.NOTIFICATION,
                audience=audience,
            )
        )
        return structs.NotificationResult(tally.message_id, tally.recipients, 0, tally.exact)

    async def _notify_users(
        self,
        call: Call[structs.NotificationRequest, None],
        users: list[str],
        message_id: str,
        data: bytes,
    ) -> structs.NotificationResult:
        for user_id in users:
            check_printable(user_id, at="audience.users")
        tallies = await _all_or_unknown(
            [
                self._sent(
                    RouteDirectMessage(
                        message_id=message_id,
                        target_user=user_id,
                        from_user=call.speaker,
                        payload=data,
                        ttl=call.body.ttl,
                        idempotency_key=call.key,
                        form=Form.NOTIFICATION,
                        ask=f"{message_id}.{number}",
                    )
                )
                for number, user_id in enumerate(dict.fromkeys(users))
            ]
        )
        return structs.NotificationResult(
            tallies[0].message_id,
            recipients=sum(len(tally.delivered_to) for tally in tallies),
            queued=sum(one.stored is not None and one.stored.queued for one in tallies),
            complete=all(tally.complete for tally in tallies),
        )

    async def _said(self, command: RouteBroadcast) -> Tally:
        with self._begin(command) as step:
            self._node.uplink.broadcast(command)
            tally = await self._node.answers.collect(command.message_id, RECEIPT_SECONDS)
            step.end(recipients=tally.recipients)
            return tally

    async def _sent(self, command: RouteDirectMessage) -> Tally:
        with self._begin(command) as step:
            self._node.uplink.direct_message(command)
            ask = command.ask or command.message_id
            tally = await self._node.answers.collect(ask, WRITTEN_SECONDS, RECEIPT_SECONDS)
            step.end(outcome=tally.outcome, recipients=len(tally.delivered_to))
            return tally

    def _begin(self, command: RouteBroadcast | RouteDirectMessage) -> Step:
        self._node.membership.require_ready()
        log.debug("message", action="send", message_id=command.message_id, user=command.from_user)
        step = self._node.trail.originate("command", command.message_id, command.metadata)
        command.trace = step.trace
        return step

    def _mint(self, kind: str) -> str:
        return f"{kind}_{self._node.mint.next(ULID())}"

    # ---- asking ----------------------------------------------------------------------------------

    async def presence(self, call: Call[None, structs.PresenceQuery]) -> structs.PeoplePresence:
        """Tell how users are to be seen (P3)."""
        for user_id in call.query.user:
            check_printable(user_id, at="user")
        people, complete = await self._node.questions.people(call.query.user)
        return structs.PeoplePresence([_presence(one) for one in people], complete)

    async def user_presence(self, call: Call[None, None]) -> structs.UserPresence:
        """Tell how a user is to be seen (P3)."""
        [seen], _ = await self._node.questions.people([_user(call)])
        return _presence(seen)

    async def user_connections(self, call: Call[None, None]) -> structs.Connections:
        """Tell where a user is connected."""
        [seen], complete = await self._node.questions.people([_user(call)])
        places = [structs.Place(one, node) for one, node in sorted(seen.connections.items())]
        return structs.Connections(seen.user_id, places, complete)

    async def subscribers(self, call: Call[None, None]) -> structs.Subscribers:
        """Tell who is subscribed to a topic (P3)."""
        topic = call.path["topic"]
        topic_words(topic, at="topic")
        tally = await self._node.questions.subscribers(topic)
        users = tally.subscribers
        named = sorted(users.items())[: frames.MAX_SUBSCRIBERS]
        return structs.Subscribers(
            topic,
            [structs.Subscriber(user_id, count) for user_id, count in named],
            users.total(),
            tally.exact and len(named) == len(users),
        )

    async def history(self, call: Call[None, structs.HistoryQuery]) -> structs.HistoryPage:
        """Return a page of a topic's history (H1)."""
        topic, query = call.path["topic"], call.query
        topic_words(topic, at="topic")
        page = await self._node.questions.history(
            HistoryAsked(
                self._mint("history"), topic, query.limit, query.after, query.before, query.reverse
            )
        )
        messages = [Raw(frames.topic_delivery(one)) for one in page.messages]
        return structs.HistoryPage(topic, page.epoch, messages, page.offset, page.complete)

    async def cluster(self, call: Call[None, None]) -> structs.ClusterState:
        """Tell who is in the cluster; it takes two seconds to listen."""
        overview = Overview()
        await listen(self._node.broker, overview, LOOK_SECONDS)
        return cluster_state(overview, self._node.settings.partitions, time.monotonic())

    # ---- doing something about a user ------------------------------------------------------------

    async def disconnect(
        self, call: Call[structs.DisconnectRequest, None]
    ) -> structs.DisconnectResult:
        """End all connections of a user; refuse the tokens that there are, if asked to."""
        user_id, revoke = _user(call), call.body.revoke
        revoke_ms = wall_clock_ms() if revoke else 0
        tally = await self._node.questions.disconnect(user_id, revoke_ms=revoke_ms)
        return structs.DisconnectResult(user_id, tally.recipients, revoke, tally.exact)

    async def erase(self, call: Call[None, None]) -> structs.EraseResult:
        """Drop what is kept of a user: what waits for them, and all that they have said."""
        user_id = _user(call)
        return structs.EraseResult(user_id, await self._node.questions.erase(user_id))


async def _all_or_unknown(sending: list[Coroutine[Any, Any, Tally]]) -> list[Tally]:
    """Return all tallies.

    Raises:
        OutcomeUnknown: some were sent, and others failed.
        ServiceError: all failed, like this.
    """
    outcomes = await asyncio.gather(*sending, return_exceptions=True)
    errors = [one for one in outcomes if isinstance(one, BaseException)]
    if errors and (len(errors) == len(outcomes) or not isinstance(errors[0], ServiceError)):
        raise errors[0]
    if errors:
        raise OutcomeUnknown(outcome="unknown") from errors[0]
    return [one for one in outcomes if isinstance(one, Tally)]


def _user(call: Call[Any, Any]) -> str:
    user_id = call.path["user"]
    if not 0 < len(user_id) <= 128:  # noqa: PLR2004 - T2
        reason = "must have 1 to 128 characters"
        raise BadRequest(f"user: {reason}", field="user", reason=reason)
    check_printable(user_id, at="user")
    return user_id


def _headers(
    call: Call[structs.BroadcastRequest, None] | Call[structs.DirectMessageRequest, None],
) -> tuple[Headers, bytes]:
    """Check what both kinds of messages have; return their headers as ``read_headers`` does."""
    body = call.body
    if len(body.payload) > MAX_PAYLOAD_BYTES:
        reason = f"longer than {MAX_PAYLOAD_BYTES} bytes"
        raise BadRequest(f"payload: {reason}", field="payload", reason=reason)
    if body.from_user is not None:
        check_printable(body.from_user, at="from_user")
    return read_headers(Raw(json.encode(body.metadata)), Raw(b""))


def _notification(body: structs.NotificationRequest, message_id: str, now_ms: int) -> bytes:
    """Return the ``data`` of the Notification that clients get."""
    actions = [server.Action(one.label, one.url) for one in body.actions]
    return json.encode(
        server.Notification(
            message_id, body.level, body.title, body.message, actions, now_ms // 1000, now_ms
        )
    )


def _presence(seen: Seen) -> structs.UserPresence:
    shown = structs.UserPresence(seen.user_id, seen.status, len(seen.connections))
    if seen.last_seen_ms:
        shown.last_seen, shown.last_seen_ms = seen.last_seen_ms // 1000, seen.last_seen_ms
        shown.metadata = json.decode(seen.metadata, type=dict[str, Raw])
    return shown

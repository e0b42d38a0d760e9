"""Performs what a session decided: at once what must keep its order, then the waiting."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import structlog

from gateway.answers import RECEIPT_SECONDS
from gateway.connection import Connection
from gateway.core.attempts import Attempt, Sent
from gateway.core.effects import Join, Leave, Look, Publish, Query, Send, Show
from gateway.core.replies import Reply, done
from gateway.core.tally import Tally
from gateway.node import Node
from gateway.recovery import Recovery
from shared.errors import BrokerUnavailable, NotFound, OutcomeUnknown, Unavailable
from shared.messages import binary, frames
from shared.messages.envelopes import HistoryAsked, PresenceSet, RouteBroadcast, RouteDirectMessage
from shared.messages.forms import Form
from shared.trail import Step

log = structlog.get_logger()

CONFIRM_SECONDS = 4.0
"""For the broker to confirm a fact; a command is answered within 5 s."""

WRITTEN_SECONDS = 2 * RECEIPT_SECONDS
"""For the nodes to report a direct message, also after it had to be looked for again."""

Work: TypeAlias = Coroutine[Any, Any, Reply]
"""Waits for the outcome of a command."""


@dataclass(frozen=True, slots=True)
class Collected:
    """A command whose answers are being collected: they come by themselves, and need no task."""

    tally: "asyncio.Future[Tally]"
    reply: Callable[["asyncio.Future[Tally]"], Reply]
    """What to make of it when it is done."""


class Commands:
    """The commands of one connection.

    Each method puts its command in line before it returns, so that commands keep the order in
    which they were called; by what it returns the outcome is awaited.
    """

    def __init__(
        self,
        node: Node,
        connection: Connection,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._node = node
        self._connection = connection
        self._spawn = spawn

    # ---- topics ----------------------------------------------------------------------------------

    def join(self, effect: Join) -> Work:
        """Subscribe; undone if the broker does not confirm it in time (T9).

        Raises:
            BrokerUnavailable: nothing was begun.
        """
        try:
            self._node.membership.require_ready()
            self._node.uplink.require_room()  # facts are never refused: so none are made
        except BrokerUnavailable:
            self._drop(self._connection.session.not_joined(effect))
            raise
        recovery = Recovery(self._node, self._connection, effect.recover)
        gained = self._node.subscriptions.add(self._connection, effect.new)
        self._node.uplink.gain(gained)
        return self._joined(effect, recovery)

    async def _joined(self, effect: Join, recovery: Recovery) -> Reply:
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                await self._node.uplink.introduced(effect.topics)
                recovered = await recovery.begin()
        except BaseException as error:
            self._drop(self._connection.session.not_joined(effect))
            recovery.stop()  # afterwards: what was kept back is not to be taken for all there was
            if isinstance(error, (TimeoutError, Unavailable)):
                raise BrokerUnavailable("The subscription was not confirmed in time") from error
            raise
        self._connection.session.joined(effect)
        return Reply(
            _status("subscribed", effect, recovered), lambda: self._follow(effect, recovery)
        )

    def _follow(self, effect: Join, recovery: Recovery) -> None:
        """Send what comes after the Status."""
        if effect.recover:
            self._spawn(recovery.replay())
        presence = [topic for topic in effect.topics if topic.startswith("presence.")]
        if presence:
            self._connection.expect_snapshot()
            self._node.uplink.ask_presence(self._connection.id, presence)

    def leave(self, effect: Leave) -> Reply:
        """Unsubscribe; from here on nothing more of it is written."""
        self._drop(effect.held)
        return Reply(_status("unsubscribed", effect))

    def _drop(self, patterns: list[str]) -> None:
        lost = self._node.subscriptions.remove(self._connection, patterns)
        self._node.uplink.lose(lost)

    async def look(self, effect: Look) -> Reply:
        """Ask for a page of a topic's history (H1); it need not keep any order (R1)."""
        body = effect.body
        page = await self._node.questions.history(
            HistoryAsked(effect.ask, body.topic, body.limit, body.after, body.before, body.reverse)
        )
        return done(effect.id, frames.history(body.topic, page, effect.id))

    async def query(self, effect: Query) -> Reply:
        """Ask who is online, or who is subscribed to a topic (P3); like ``look``."""
        topic, questions = effect.body.topic, self._node.questions
        if topic is not None:
            tally = await questions.subscribers(topic)
            state = frames.subscribers(topic, tally.subscribers, complete=tally.exact)
        else:
            people, complete = await questions.people(effect.body.users)
            state = frames.people(people, complete=complete)
        return done(effect.id, frames.presence_state(state, effect.id))

    # ---- messages --------------------------------------------------------------------------------

    def publish(self, effect: Publish) -> Collected:
        """Broadcast.

        Raises:
            BrokerUnavailable: nothing was sent.
        """
        headers = effect.command.headers
        command = RouteBroadcast(
            message_id=effect.attempt.message_id,
            topic=effect.body.topic,
            payload=bytes(effect.body.payload),
            metadata=effect.command.metadata,
            from_user=self._connection.user_id,
            except_connection="" if headers.echo else self._connection.id,
            idempotency_key=headers.idempotency_key or "",
            ttl=headers.ttl,
            low=headers.priority == "low",
            form=_form(effect),
        )
        uplink = self._node.uplink
        step = self._start(
            command, effect.attempt, lambda number: uplink.broadcast(command, number)
        )
        patience = RECEIPT_SECONDS if effect.command.id or effect.binary else 0
        tally = self._node.answers.collect(effect.attempt.message_id, patience)
        return Collected(tally, partial(self._published, effect, step))

    def _published(self, effect: Publish, step: Step, collected: "asyncio.Future[Tally]") -> Reply:
        with step:
            tally = collected.result()
            kind, heard = "delivered" if tally.exact else "partial", tally.recipients
            step.end(outcome=kind, recipients=heard)
        reply = _ended(effect, kind, tally.message_id, heard, recipients=heard)
        effect.attempt.reply = Reply(reply)
        return effect.attempt.reply

    def send(self, effect: Send) -> Collected:
        """Send a direct message.

        Raises:
            BrokerUnavailable: nothing was sent.
        """
        headers = effect.command.headers
        command = RouteDirectMessage(
            message_id=effect.attempt.message_id,
            target_user=effect.body.target_user,
            from_user=self._connection.user_id,
            payload=bytes(effect.body.payload),
            metadata=effect.command.metadata,
            ttl=headers.ttl,
            idempotency_key=headers.idempotency_key or "",
            form=_form(effect),
        )
        uplink, low = self._node.uplink, headers.priority == "low"
        step = self._start(
            command,
            effect.attempt,
            lambda number: uplink.direct_message(command, number, low=low),
        )
        tally = self._node.answers.collect(
            effect.attempt.message_id, WRITTEN_SECONDS, RECEIPT_SECONDS
        )
        return Collected(tally, partial(self._sent, effect, step))

    def _sent(self, effect: Send, step: Step, collected: "asyncio.Future[Tally]") -> Reply:
        with step:
            tally = collected.result()
            outcome, delivered_to = tally.outcome, tally.delivered_to
            step.end(outcome=outcome, recipients=len(delivered_to))
        reply = []
        if outcome in {"queued", "lost"}:
            reply.append(self._offline(effect, queued=outcome == "queued"))
        if outcome == "lost":
            return Reply(reply, failed=True)  # not remembered: the same id may be tried again
        heard = len(delivered_to)
        reply += _ended(effect, outcome, tally.message_id, heard, delivered_to=delivered_to)
        if effect.command.id is not None:
            effect.attempt.reply = Reply(reply)
        return Reply(reply)

    def _offline(self, effect: Send, *, queued: bool) -> bytes:
        """Return the documented Error; the Ack that the client waits for may follow (A2)."""
        user_id = effect.body.target_user
        error = NotFound(f"User {user_id} not found or not connected", queued=queued)
        self._node.metrics.error(error)
        return frames.error(error, effect.command.id)

    def _start(
        self,
        command: RouteBroadcast | RouteDirectMessage,
        attempt: Attempt,
        submit: Callable[[int | None], Sent],
    ) -> Step:
        """Send a command, or its repeat under the old number, unless it is still on its way.

        Return what its outcome ends.

        Raises:
            BrokerUnavailable: nothing was sent.
        """
        self._node.membership.require_ready()
        sent = attempt.sent
        waits_in_line = sent is not None and sent.number is None
        under_way = waits_in_line or self._node.answers.pending(attempt.message_id)
        if attempt.step is not None and under_way:
            return attempt.step
        log.debug(
            "message",
            action="send",
            message_id=attempt.message_id,
            connection=self._connection.id,
            user=self._connection.user_id,
        )
        step = self._node.trail.originate("command", attempt.message_id, command.metadata)
        attempt.step, command.trace = step, step.trace
        try:
            attempt.sent = submit(sent.number if sent is not None else None)
        except BrokerUnavailable:
            step.end(outcome="refused")
            raise
        return step

    # ---- presence --------------------------------------------------------------------------------

    def show(self, effect: Show) -> Work:
        """Tell how this user is to be seen.

        Raises:
            BrokerUnavailable: nothing was sent.
        """
        self._node.membership.require_ready()
        metadata = effect.body.metadata
        submission = self._node.uplink.show(
            PresenceSet(
                self._connection.user_id,
                effect.body.status,
                None if metadata is None else frames.raw_object(metadata),
            )
        )
        return self._shown(effect.id, submission.confirmed)

    async def _shown(self, command_id: str | None, confirmed: "asyncio.Future[None]") -> Reply:
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                await asyncio.shield(confirmed)
        except TimeoutError as error:
            raise OutcomeUnknown(outcome="unknown") from error
        return done(command_id)


def _status(
    kind: str, effect: Join | Leave, recovered: dict[str, bool] | None = None
) -> list[bytes]:
    details: dict[str, Any] = {
        "topics": effect.topics,
        "active_subscriptions": effect.active,
    }
    if recovered:
        details["recovered"] = recovered
    reply = [frames.status(kind, details, effect.id)]
    if effect.id is not None:
        reply.append(frames.ack(effect.id, kind))
    return reply


def _form(effect: Publish | Send) -> Form:
    return effect.binary.form if effect.binary is not None else Form.JSON


def _ended(
    effect: Publish | Send, kind: str, message_id: str, heard: int, **fields: Any
) -> list[bytes]:
    """Return the Status of what came as a binary message, and the Ack of what has an id."""
    command_id = effect.command.id
    reply = []
    if effect.binary is not None:
        reply.append(binary.received(effect.binary, heard, message_id, command_id))
    if command_id is not None:
        reply.append(frames.ack(command_id, kind, **fields, server_message_id=message_id))
    return reply

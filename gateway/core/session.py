"""PURE: one client's conversation, without its socket.

Feed it what arrived; it answers with what must happen.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from gateway.core.identity import Identity, Right
from gateway.core.replies import Reply
from shared.errors import BadRequest, Forbidden, ServiceError, TooManyBadMessages
from shared.messages import client, frames
from shared.topics.pattern import is_reserved, parse_pattern, parse_topic

MAX_TOPICS = 100
"""Topics in one request (T8)."""

MAX_STRIKES = 10
"""Bad messages in a row (X7)."""

REPEAT_SECONDS = 120.0
"""How long the id of a command is remembered (A7)."""

MAX_REMEMBERED = 10_000


class Sent(Protocol):
    """A command on its way to the owner."""

    number: int | None
    """None while it waits for its turn."""


@dataclass
class Attempt:
    """A delivering command under one id of this connection, for when it is repeated (A7)."""

    message_id: str
    at: float
    sent: Sent | None = None
    reply: Reply | None = None
    """What ended it, if it succeeded."""


@dataclass(frozen=True)
class Fail:
    """Write this error; close if it has a close code."""

    error: ServiceError
    id: str | None = None


@dataclass(frozen=True)
class Join:
    """Subscribe to ``new`` and answer for ``topics``."""

    topics: list[str]
    new: list[str]
    active: int
    id: str | None


@dataclass(frozen=True)
class Leave:
    """Unsubscribe from ``held`` and answer for ``topics``."""

    topics: list[str]
    held: list[str]
    active: int
    id: str | None


@dataclass(frozen=True)
class Publish:
    """Have a broadcast routed."""

    body: client.Broadcast
    command: client.Command
    attempt: Attempt


@dataclass(frozen=True)
class Send:
    """Have a direct message routed."""

    body: client.DirectMessage
    command: client.Command
    attempt: Attempt


@dataclass(frozen=True)
class Show:
    """Tell others how this user is to be seen."""

    body: client.Presence
    id: str | None


@dataclass(frozen=True)
class Renew:
    """Check a fresh token and go on with it."""

    token: str
    id: str | None


Effect: TypeAlias = Reply | Fail | Join | Leave | Publish | Send | Show | Renew


@dataclass
class Session:
    """What a conversation has come to."""

    identity: Identity
    connection_id: str
    max_subscriptions: int
    patterns: set[str] = field(default_factory=set)
    strikes: int = 0
    _attempts: OrderedDict[str, Attempt] = field(default_factory=OrderedDict)

    def receive(self, text: str, *, mint: str, now: float) -> Effect:
        """Decide what a text message leads to.

        ``mint`` is a fresh ULID for a message id; ``now`` is monotonic, in seconds.
        """
        command: client.Command | None = None
        try:
            command = client.parse(text)
            effect = self._decide(command, mint, now)
        except BadRequest as error:
            return self._refuse(error, command.id if command else None)
        except ServiceError as error:
            return Fail(error, command.id if command else None)
        self.strikes = 0
        return effect

    def refuse(self, error: BadRequest) -> Fail:
        """Count a bad message that is no text."""
        return self._refuse(error, None)

    def _refuse(self, error: BadRequest, command_id: str | None) -> Fail:
        self.strikes += 1
        if self.strikes >= MAX_STRIKES:
            return Fail(TooManyBadMessages(**error.details), command_id)
        return Fail(error, command_id)

    def _decide(self, command: client.Command, mint: str, now: float) -> Effect:
        match command.body:
            case client.Ping(timestamp=timestamp):
                return Reply([frames.pong(bytes(timestamp), command.id), *self._ok(command)])
            case client.Pong():
                return Reply(self._ok(command))
            case client.Subscribe(topics=topics):
                return self._join(topics, command.id)
            case client.Unsubscribe(topics=topics):
                return self._leave(topics, command.id)
            case client.Broadcast() as body:
                return self._publish(body, command, f"broadcast_{mint}", now)
            case client.DirectMessage() as body:
                return self._send(body, command, f"dm_{mint}", now)
            case client.Presence() as body:
                return Show(body, command.id)
            case client.Authenticate(token=token):
                return Renew(token, command.id)

    def _ok(self, command: client.Command) -> list[bytes]:
        return [] if command.id is None else [frames.ack(command.id, "ok")]

    # ---- topics ----------------------------------------------------------------------------------

    def _join(self, requested: list[str], command_id: str | None) -> Join:
        topics = _distinct(requested)
        for topic in topics:
            self._require_subscribe(topic)
        new = [topic for topic in topics if topic not in self.patterns]
        if len(self.patterns) + len(new) > self.max_subscriptions:
            raise Forbidden("Too many subscriptions", limit=self.max_subscriptions, topics=new)
        self.patterns.update(new)
        return Join(topics, new, len(self.patterns), command_id)

    def _require_subscribe(self, topic: str) -> None:
        try:
            words = parse_pattern(topic)
            right: Right = "presence" if words[0] == "presence" else "subscribe"
            self.identity.grants.require(right, words)
        except (BadRequest, Forbidden) as error:
            error.details["topics"] = [topic[:256]]
            raise

    def not_joined(self, patterns: list[str]) -> list[str]:
        """Undo a subscription that failed; return those patterns that were still held."""
        undone = [pattern for pattern in patterns if pattern in self.patterns]
        self.patterns.difference_update(undone)
        return undone

    def _leave(self, requested: list[str], command_id: str | None) -> Leave:
        topics = _distinct(requested)
        for topic in topics:
            try:
                parse_pattern(topic)
            except BadRequest as error:
                error.details["topics"] = [topic[:256]]
                raise
        held = self.not_joined(topics)
        return Leave(topics, held, len(self.patterns), command_id)

    # ---- messages --------------------------------------------------------------------------------

    def _publish(
        self, body: client.Broadcast, command: client.Command, message_id: str, now: float
    ) -> Effect:
        words = parse_topic(body.topic)
        if is_reserved(words[0]):
            raise Forbidden("Only the service speaks on this topic", topic=body.topic)
        self.identity.grants.require("publish", words)
        attempt = self._attempt(command.id, message_id, now)
        if attempt.reply is not None:
            return attempt.reply
        return Publish(body, command, attempt)

    def _send(
        self, body: client.DirectMessage, command: client.Command, message_id: str, now: float
    ) -> Effect:
        self.identity.grants.require_direct(body.target_user)
        attempt = self._attempt(command.id, message_id, now)
        if attempt.reply is not None:
            return attempt.reply
        return Send(body, command, attempt)

    def _attempt(self, command_id: str | None, message_id: str, now: float) -> Attempt:
        """Find the command's earlier attempt, or note this one as the first."""
        while self._attempts:
            oldest = next(iter(self._attempts.values()))
            if now - oldest.at <= REPEAT_SECONDS and len(self._attempts) < MAX_REMEMBERED:
                break
            self._attempts.popitem(last=False)
        if command_id is None:
            return Attempt(message_id, now)
        return self._attempts.setdefault(command_id, Attempt(message_id, now))


def _distinct(requested: list[str]) -> list[str]:
    topics = list(dict.fromkeys(requested))
    if len(topics) > MAX_TOPICS:
        raise Forbidden("Too many topics in one request", limit=MAX_TOPICS, topics=[])
    return topics

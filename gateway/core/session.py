"""PURE: one client's conversation, without its socket.

Feed it what arrived; it answers with what must happen.
"""

from dataclasses import dataclass, field, replace

from gateway.core.attempts import Attempts
from gateway.core.effects import (
    Confirm,
    Effect,
    Fail,
    Join,
    Leave,
    Look,
    Publish,
    Query,
    Renew,
    Respond,
    Send,
    Several,
    Show,
    Turn,
)
from gateway.core.identity import Identity
from gateway.core.limits import READ_AT_ONCE, Allowance, Limits, cost
from gateway.core.registrations import Registrations
from gateway.core.replies import UNKNOWN, Reply, done
from gateway.core.rights import (
    may_subscribe,
    require_history,
    require_presence,
    require_publish,
    require_recovery,
    require_subscribe,
)
from shared.errors import BadRequest, Forbidden, ServiceError, TooManyBadMessages
from shared.messages import binary, client, frames
from shared.topics.pattern import contains, parse_pattern

MAX_TOPICS = 100
"""Topics in one request (T8)."""

MAX_STRIKES = 10
"""Bad messages in a row (X7)."""

TURNS: dict[type[client.Body], Turn] = {
    client.Subscribe: Turn.TOPIC,
    client.Unsubscribe: Turn.TOPIC,
    client.Broadcast: Turn.TOPIC,
    client.DirectMessage: Turn.DIRECT,
    client.Presence: Turn.DIRECT,
}


@dataclass(slots=True)
class Subscription:
    """One pattern that a connection holds; requests are told apart by their marks."""

    since: int
    at: float
    """Monotonic, in seconds."""

    awaited_by: int = -1
    """The last request that waits for its confirm."""

    confirmed: bool = False


@dataclass(slots=True)
class Session:
    """What a conversation has come to."""

    identity: Identity
    connection_id: str
    max_subscriptions: int
    limits: Limits = field(default_factory=Limits)
    patterns: dict[str, Subscription] = field(default_factory=dict)
    registrations: Registrations = field(default_factory=Registrations)
    strikes: int = 0
    route: client.BinaryRoute = field(default_factory=client.BinaryRoute)
    """Where binary messages without a header go (B3)."""

    heard: str = UNKNOWN
    """The type of the last message, as metrics know it."""

    _allowance: Allowance | None = None
    _attempts: Attempts = field(default_factory=Attempts)
    _last_mark: int = 0

    def receive(
        self, text: str | bytes, *, mint: str, now: float, size: int = 0, in_batch: bool = False
    ) -> Effect:
        """Decide what a text message of ``size`` bytes leads to, or one operation of a batch.

        ``mint`` is a fresh ULID for a message id; ``now`` is monotonic, in seconds.
        """
        turn = Turn.TOPIC  # what cannot be read may have been any command
        self.heard = UNKNOWN
        try:
            command = client.parse(text)
            self.heard = client.label(command.body)
            turn = TURNS.get(type(command.body), Turn.FREE)
            if in_batch and isinstance(command.body, client.Batch):
                raise _nested(command)
            effect = self._decide(command, mint, now, size)
        except ServiceError as error:
            return self._fail(error, turn)
        if not isinstance(effect, Several):  # its operations count for themselves
            self.strikes = 0
        return effect

    def receive_binary(self, frame: bytes, *, mint: str, now: float) -> Effect:
        """Decide what a binary message leads to: what its JSON twin would (B4)."""
        turn = Turn.TOPIC
        self.heard = client.BINARY
        try:
            message = binary.parse(frame)
            command = message.command(self.route)
            if command is None:
                self.take(1, len(frame), now)
                received = binary.received(message, 0, f"binary_{mint}")
                effect: Effect = Respond(Reply([received]), turn)
            else:
                turn = TURNS[type(command.body)]
                effect = self._decide(command, mint, now, len(frame))
        except ServiceError as error:
            return self._fail(error, turn)
        self.strikes = 0
        return replace(effect, binary=message) if isinstance(effect, Publish | Send) else effect

    def take(self, cost: float, size: int, now: float) -> None:
        """Take from what the client may ask; a bad message is not counted here, but by strikes.

        Raises:
            RateLimited: it is too much for now.
            Flooding: it has been far too much for too long.
        """
        if self._allowance is None:
            self._allowance = Allowance(self.limits, self.identity.user_id, now)
        self._allowance.take(cost, size, now)

    def pause(self) -> float:
        """Return for how long to read nothing more, after ``READ_AT_ONCE`` messages."""
        if self._allowance is None:
            return 0.0
        refused, self._allowance.refused = self._allowance.refused, 0
        return self.limits.pause if 2 * refused > READ_AT_ONCE else 0.0

    def _fail(self, error: ServiceError, turn: Turn) -> Fail:
        command_id = error.details.pop("message_id", None)
        if isinstance(error, BadRequest):
            self.strikes += 1
            if self.strikes >= MAX_STRIKES:
                error = TooManyBadMessages(**error.details)
        return Fail(error, command_id, turn)

    def _decide(self, command: client.Command, mint: str, now: float, size: int) -> Effect:
        try:
            self.take(cost(command.body), size, now)
            return self._effect(command, mint, now)
        except ServiceError as error:
            if command.id is not None:
                error.details["message_id"] = command.id
            raise

    def _effect(self, command: client.Command, mint: str, now: float) -> Effect:
        match command.body:
            case client.Subscribe() as body:
                return self._join(body, command.id, now)
            case client.Unsubscribe(topics=topics):
                return self._leave(topics, command.id)
            case client.Broadcast() as body:
                return self._publish(body, command, f"broadcast_{mint}", now)
            case client.DirectMessage() as body:
                return self._send(body, command, f"dm_{mint}", now)
            case client.Presence() as body:
                return Show(body, command.id)
            case client.Extension() | client.Register() | client.Unregister() | client.Reply():
                return self.registrations.decide(command, f"extension_{mint}", self.identity.grants)
            case _:
                return self._overtaking(command, mint)

    def _overtaking(self, command: client.Command, mint: str) -> Effect:
        """Decide about what need not wait for what was asked before it (R1)."""
        match command.body:
            case client.Ping(timestamp=timestamp):
                pong = frames.pong(bytes(timestamp), command.id)
                return Respond(done(command.id, pong), Turn.FREE)
            case client.Ack(message_ids=message_ids):
                return Confirm(message_ids, done(command.id))
            case client.History() as body:
                require_history(self.identity.grants, body.topic)
                return Look(body, command.id, f"history_{mint}")
            case client.PresenceQuery() as body:
                require_presence(self.identity.grants, body)
                return Query(body, command.id)
            case client.Batch(operations=operations):
                return Several([bytes(one) for one in operations], command.id)
            case client.BinaryRoute() as route:
                return self._set_route(route, command)
            case client.Authenticate(token=token):
                return Renew(token, command.id)
            case _:
                return Respond(done(command.id), Turn.FREE)

    # ---- topics ----------------------------------------------------------------------------------

    def _join(self, body: client.Subscribe, command_id: str | None, now: float) -> Join:
        topics = _distinct(body.topics)
        for topic in topics:
            self._require_subscribe(topic)
        for topic, start in body.recover.items():
            require_recovery(self.identity.grants, topic, start, topics)
        new = [topic for topic in topics if topic not in self.patterns]
        if len(self.patterns) + len(new) > self.max_subscriptions:
            raise Forbidden("Too many subscriptions", limit=self.max_subscriptions, topics=new)
        mark = self._last_mark = self._last_mark + 1
        for topic in topics:
            held = self.patterns.setdefault(topic, Subscription(since=mark, at=now))
            if not held.confirmed:
                held.awaited_by = mark
        return Join(topics, new, len(self.patterns), command_id, mark, body.recover)

    def _require_subscribe(self, topic: str) -> None:
        try:
            require_subscribe(self.identity.grants, topic)
        except (BadRequest, Forbidden) as error:
            error.details |= {"field": "data.topics", "topics": [topic[:256]]}
            raise

    def wanted(self, topic: str, before: float) -> bool:
        """Whether the topic was subscribed to before a moment already."""
        words = tuple(topic.split("."))
        return any(
            held.at < before and contains(parse_pattern(pattern), words)
            for pattern, held in self.patterns.items()
        )

    def joined(self, join: Join) -> None:
        """Note that what a request asked for is confirmed, unless it was left meanwhile."""
        for topic in join.topics:
            held = self.patterns.get(topic)
            if held is not None and held.since <= join.mark:
                held.confirmed = True

    def not_joined(self, join: Join) -> list[str]:
        """Undo a request that failed; return what is not held any more.

        What a later request waits for, too, is left to that one.
        """
        return self._drop(
            [
                topic
                for topic in join.topics
                if (held := self.patterns.get(topic)) is not None
                and not held.confirmed
                and held.awaited_by == join.mark
            ]
        )

    def _drop(self, patterns: list[str]) -> list[str]:
        held = [pattern for pattern in patterns if pattern in self.patterns]
        for pattern in held:
            del self.patterns[pattern]
        return held

    def renewed(self, identity: Identity) -> Leave | None:
        """Go on with a fresh token; what it no longer grants is left."""
        self.identity = identity
        self.registrations.keep_granted(identity.grants)
        revoked = [one for one in self.patterns if not may_subscribe(identity.grants, one)]
        if not revoked:
            return None
        return Leave(revoked, self._drop(revoked), len(self.patterns), None)

    def _leave(self, requested: list[str], command_id: str | None) -> Leave:
        topics = _distinct(requested)
        for topic in topics:
            try:
                parse_pattern(topic)
            except BadRequest as error:
                error.details |= {"field": "data.topics", "topics": [topic[:256]]}
                raise
        held = self._drop(topics)
        return Leave(topics, held, len(self.patterns), command_id)

    # ---- messages --------------------------------------------------------------------------------

    def _publish(
        self, body: client.Broadcast, command: client.Command, message_id: str, now: float
    ) -> Effect:
        require_publish(self.identity.grants, body.topic)
        attempt = self._attempts.find(command.id, message_id, body.topic, now=now)
        if attempt.reply is not None:
            return Respond(attempt.reply, Turn.TOPIC)
        return Publish(body, command, attempt)

    def _send(
        self, body: client.DirectMessage, command: client.Command, message_id: str, now: float
    ) -> Effect:
        self.identity.grants.require_direct(body.target_user)
        destination = f"user {body.target_user}"  # no topic holds a blank
        attempt = self._attempts.find(command.id, message_id, destination, now=now)
        if attempt.reply is not None:
            return Respond(attempt.reply, Turn.DIRECT)
        return Send(body, command, attempt)

    def _set_route(self, route: client.BinaryRoute, command: client.Command) -> Respond:
        """Set where binary messages go; if that is refused, nowhere, and not where it was."""
        self.route = client.BinaryRoute()
        binary.check_route(route, at="data")
        if route.topic is not None:
            require_publish(self.identity.grants, route.topic)
        if route.target_user is not None:
            self.identity.grants.require_direct(route.target_user)
        self.route = route
        return Respond(done(command.id), Turn.FREE)


def _nested(command: client.Command) -> BadRequest:
    reason = "a batch in a batch"
    error = BadRequest(f"type: {reason}", field="type", reason=reason)
    if command.id is not None:
        error.details["message_id"] = command.id
    return error


def _distinct(requested: list[str]) -> list[str]:
    topics = list(dict.fromkeys(requested))
    if len(topics) > MAX_TOPICS:
        raise Forbidden("Too many topics in one request", limit=MAX_TOPICS, topics=[])
    return topics

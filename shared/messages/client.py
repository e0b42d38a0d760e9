"""What clients send: JSON text in, a checked ``Command`` out (decisions A8, X2, X3, X7)."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from shared.errors import BadRequest, Forbidden
from shared.messages.checks import (
    Headers,
    PrintableId,
    Whole,
    check_depth,
    check_printable,
    convert,
    read_headers,
    read_id,
)
from shared.messages.extensions import TYPE, ExtensionAnswer, Failure


class Ping(Struct):
    """Asks for a Pong with the same timestamp."""

    timestamp: Raw = msgspec.field(default_factory=lambda: Raw(b"null"))
    """Any JSON value; it comes back verbatim (C1)."""


class Pong(Struct):
    """Answers a Ping of ours; nothing follows (C2)."""


class RecoverFrom(Struct, forbid_unknown_fields=True):
    """What was seen last: by its time, for a topic or pattern, or by its place in a topic (H3)."""

    since: Whole | None = None
    """Milliseconds: ``sent_at_ms`` of the last message seen."""

    offset: Whole | None = None
    """``metadata.offset`` of the last message seen; with ``epoch``, and for a topic only."""

    epoch: str | None = None


class Subscribe(Struct):
    """Asks for all that is said on these patterns."""

    topics: Annotated[list[str], Meta(min_length=1)]
    """Topics and patterns (T1, T2)."""

    recover: dict[str, RecoverFrom] = {}
    """Where to begin with what was missed, for some or all of ``topics`` (H3)."""


class Unsubscribe(Struct):
    """Asks for no more of these patterns."""

    topics: Annotated[list[str], Meta(min_length=1)]


class Broadcast(Struct):
    """Says something on a topic."""

    topic: str
    """A topic, no pattern (T3)."""

    payload: Raw
    """Any JSON value; handed on as it came (X6)."""


class DirectMessage(Struct):
    """Says something to a user, wherever they are."""

    target_user: PrintableId
    payload: Raw
    """Any JSON value; handed on as it came (X6)."""


class Presence(Struct):
    """Sets what others see of this user (P2)."""

    status: Literal["online", "away", "busy"]
    metadata: dict[str, Raw] | None = None
    """Laid over the token's ``presence`` claim; without it what was set before stays."""


class History(Struct):
    """Asks for a page of what was said on a topic (H1)."""

    topic: str
    limit: Annotated[int, Meta(ge=1, le=1000)] = 50
    before: Whole | None = None
    """Only what has a lower offset: the newest of it."""

    after: Whole | None = None
    """Only what has a higher offset: the oldest of it."""

    reverse: bool = False
    """The newest first."""


class PresenceQuery(Struct):
    """Asks who is online of some users, or who is subscribed to a topic: one of the two (P3)."""

    users: Annotated[list[PrintableId], Meta(max_length=100)] = []
    topic: str | None = None


class Ack(Struct):
    """Confirms direct messages (R2)."""

    message_ids: Annotated[list[PrintableId], Meta(min_length=1, max_length=256)]
    """Each the ``metadata.message_id`` of a direct message that was received."""


class Authenticate(Struct):
    """Brings a fresh token for the same user (S3)."""

    token: str


class Batch(Struct):
    """Several messages, to be taken as if they came one by one (X4)."""

    operations: Annotated[list[Raw], Meta(min_length=1, max_length=100)]
    """Each a message of a client, but no Batch."""


class BinaryRoute(Struct):
    """Says where binary messages without a header go: to a topic, to a user, or nowhere (B3)."""

    topic: str | None = None
    target_user: str | None = None


class Extension(Struct):
    """A command that a worker outside the service carries out (X1)."""

    type: str
    data: Raw


ExtensionTypes: TypeAlias = Annotated[
    list[Annotated[str, Meta(pattern=TYPE)]], Meta(min_length=1, max_length=32)
]


class Register(Struct):
    """Asks for the commands of these extensions, to carry them out (X1)."""

    types: ExtensionTypes
    """Such as ``X-CustomAction``."""


class Unregister(Struct):
    """Asks for no more commands of these extensions (X1)."""

    types: ExtensionTypes


class Reply(Struct):
    """Answers a command of an extension with a result or an error (X1)."""

    to: PrintableId
    """The ``id`` of the command."""

    data: Raw | UnsetType = UNSET
    """The result, any JSON value."""

    error: Failure | None = None
    """What the one who asks is told instead."""

    @property
    def answer(self) -> ExtensionAnswer:
        """What it says."""
        return ExtensionAnswer(self.data, self.error)


Body: TypeAlias = (
    Ack
    | Authenticate
    | Batch
    | BinaryRoute
    | Broadcast
    | DirectMessage
    | Extension
    | History
    | Ping
    | Pong
    | Presence
    | PresenceQuery
    | Register
    | Reply
    | Subscribe
    | Unregister
    | Unsubscribe
)

BODIES: dict[str, type[Body]] = {
    body.__name__: body
    for body in (
        Ping,
        Pong,
        Subscribe,
        Unsubscribe,
        Broadcast,
        DirectMessage,
        Presence,
        PresenceQuery,
        Authenticate,
        History,
        Ack,
        Batch,
        BinaryRoute,
        Register,
        Unregister,
        Reply,
    )
}

EXTENSION, BINARY = "X-", "binary"
LABELS = (*BODIES, EXTENSION, BINARY)
"""What metrics call the messages that could be read."""

SERVER_ONLY = frozenset({"AuthStatus", "Error", "Notification", "PresenceState", "Status"})


@dataclass(frozen=True, slots=True)
class Command:
    """One checked message of a client."""

    body: Body
    id: str | None = None
    headers: Headers = field(default_factory=Headers)
    metadata: bytes = b""
    """The headers to deliver, as JSON members: ``"a":1,"b":2``; may be empty."""


def label(body: Body) -> str:
    """Return what metrics call a message: its type, but one name for all extensions."""
    return EXTENSION if isinstance(body, Extension) else type(body).__name__


_ABSENT = Raw(b"")


class _Head(Struct):
    type: Raw = _ABSENT
    data: Raw = _ABSENT
    id: Raw = _ABSENT
    metadata: Raw = _ABSENT
    timestamp: Raw = _ABSENT


def parse(message: str | bytes) -> Command:
    """Check one text message of a client, or one operation of its batch.

    Raises:
        BadRequest: it breaks the protocol; ``details`` name the ``field`` and the ``reason``, and
            the ``message_id`` if that could be read (A3).
        Forbidden: only the server may send this type (X2).
    """
    frame = message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message
    check_depth(frame, at="message")
    head: _Head = convert(frame, _Head, at="")
    command_id = read_id(head.id)
    try:
        return _command(head, command_id)
    except (BadRequest, Forbidden) as error:
        if command_id is not None:
            error.details.setdefault("message_id", command_id)
        raise


def _command(head: _Head, command_id: str | None) -> Command:
    if not bytes(head.type):
        raise BadRequest("type is missing", field="type", reason="missing")
    name = convert(bytes(head.type), str, at="type")
    kind = _kind(name)
    if bytes(head.data)[:1] != b"{":
        raise BadRequest("data must be an object", field="data", reason="not an object")
    body = Extension(name, head.data) if kind is Extension else _body(bytes(head.data), kind)
    headers, metadata = read_headers(head.metadata, head.timestamp)
    return Command(body, command_id, headers, metadata)


def _kind(name: str) -> type[Body]:
    """Return what a message of this type is to be read as."""
    if name in SERVER_ONLY:
        raise Forbidden(f"Only the server sends {name}", field="type")
    if re.match(TYPE, name):
        return Extension
    if (kind := BODIES.get(name)) is None:
        reason = f"unknown type {name[:64]!r}"
        if name.startswith("X-"):
            reason = "X- and 1 to 64 letters, digits, hyphens and underscores are expected"
        raise BadRequest(f"type: {reason}", field="type", reason=reason, known=sorted(BODIES))
    return kind


def _body(data: bytes, kind: type[Body]) -> Body:
    body: Body = convert(data, kind, at="data")
    if isinstance(body, DirectMessage):
        check_printable(body.target_user, at="data.target_user")
    if isinstance(body, Reply) and not body.answer.is_whole:
        reason = "either data or error is expected"
        raise BadRequest(f"data: {reason}", field="data", reason=reason)
    return body

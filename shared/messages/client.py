"""What clients send: JSON text in, a checked ``Command`` out (decisions A8, X2, X3, X7)."""

import re
import sys
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from shared.errors import BadRequest, Forbidden

MAX_DEPTH = 32

Whole = Annotated[int, Meta(ge=0, le=2**53)]
"""A number that a double holds exactly (X7)."""

PrintableId = Annotated[str, Meta(min_length=1, max_length=128)]


class Ping(Struct):
    """Asks for a Pong with the same timestamp."""

    timestamp: Raw = Raw(b"null")


class Pong(Struct):
    """Answers a Ping of ours; nothing follows (C2)."""


class RecoverFrom(Struct, forbid_unknown_fields=True):
    """What was seen last: by its time, for a topic or pattern, or by its place in a topic (H3)."""

    since: Whole | None = None
    """Milliseconds: ``sent_at_ms`` of the last message seen."""

    offset: Whole | None = None
    epoch: str | None = None


class Subscribe(Struct):
    """Asks for all that is said on these patterns."""

    topics: Annotated[list[str], Meta(min_length=1)]
    recover: dict[str, RecoverFrom] = {}


class Unsubscribe(Struct):
    """Asks for no more of these patterns."""

    topics: Annotated[list[str], Meta(min_length=1)]


class Broadcast(Struct):
    """Says something on a topic."""

    topic: str
    payload: Raw


class DirectMessage(Struct):
    """Says something to a user, wherever they are."""

    target_user: PrintableId
    payload: Raw


class Presence(Struct):
    """Sets what others see of this user (P2)."""

    status: Literal["online", "away", "busy"]
    metadata: dict[str, Raw] | None = None


class History(Struct):
    """Asks for a page of what was said on a topic (H1)."""

    topic: str
    limit: Annotated[int, Meta(ge=1, le=1000)] = 50
    before: Whole | None = None
    after: Whole | None = None
    reverse: bool = False


class PresenceQuery(Struct):
    """Asks who is online of some users, or who is subscribed to a topic: one of the two (P3)."""

    users: Annotated[list[PrintableId], Meta(max_length=100)] = []
    topic: str | None = None


class Ack(Struct):
    """Confirms direct messages (R2)."""

    message_ids: Annotated[list[PrintableId], Meta(min_length=1, max_length=256)]


class Authenticate(Struct):
    """Brings a fresh token for the same user (S3)."""

    token: str


class Batch(Struct):
    """Several messages, to be taken as if they came one by one (X4)."""

    operations: Annotated[list[Raw], Meta(min_length=1, max_length=100)]


Body: TypeAlias = (
    Ack
    | Authenticate
    | Batch
    | Broadcast
    | DirectMessage
    | History
    | Ping
    | Pong
    | Presence
    | PresenceQuery
    | Subscribe
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
    )
}

SERVER_ONLY = frozenset({"AuthStatus", "Error", "Notification", "PresenceState", "Status"})

FOR_THE_SERVER = frozenset({"echo", "idempotency_key"})
"""Headers that are obeyed and not delivered (X3)."""

OURS = frozenset(
    {
        "client_timestamp",
        "epoch",
        "from_user",
        "message_id",
        "offset",
        "queued",
        "replayed",
        "sent_at",
        "sent_at_ms",
    }
)
"""Keys of a delivered ``data.metadata`` that only the server writes (X3)."""


class Headers(Struct):
    """The headers of a message that the server reads (X3)."""

    ttl: Annotated[float, Meta(ge=0)] | None = None
    priority: Literal["low", "normal", "high"] = "normal"
    echo: bool = True
    idempotency_key: PrintableId | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """One checked message of a client."""

    body: Body
    id: str | None = None
    headers: Headers = field(default_factory=Headers)
    metadata: bytes = b""
    """The headers to deliver, as JSON members: ``"a":1,"b":2``; may be empty."""


_ABSENT = Raw(b"")


class _Head(Struct):
    type: Raw = _ABSENT
    data: Raw = _ABSENT
    id: Raw = _ABSENT
    metadata: Raw = _ABSENT
    timestamp: Raw = _ABSENT


_Target = TypeVar("_Target")


def parse(message: str | bytes) -> Command:
    """Check one text message of a client, or one operation of its batch.

    Raises:
        BadRequest: it breaks the protocol; ``details`` name the ``field`` and the ``reason``, and
            the ``message_id`` if that could be read (A3).
        Forbidden: only the server may send this type (X2).
    """
    frame = message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message
    if nesting(frame) > MAX_DEPTH:
        reason = f"nested deeper than {MAX_DEPTH} levels"
        raise BadRequest(f"message: {reason}", field="message", reason=reason, limit=MAX_DEPTH)
    head = _convert(frame, _Head, at="")
    command_id = _command_id(head.id)
    try:
        return _command(head, command_id)
    except (BadRequest, Forbidden) as error:
        if command_id is not None:
            error.details.setdefault("message_id", command_id)
        raise


def _command(head: _Head, command_id: str | None) -> Command:
    if not bytes(head.type):
        raise BadRequest("type is missing", field="type", reason="missing")
    name = _convert(bytes(head.type), str, at="type")
    if name in SERVER_ONLY:
        raise Forbidden(f"Only the server sends {name}", field="type")
    if (kind := BODIES.get(name)) is None:
        reason = f"unknown type {name[:64]!r}"
        raise BadRequest(f"type: {reason}", field="type", reason=reason, known=sorted(BODIES))
    if bytes(head.data)[:1] != b"{":
        raise BadRequest("data must be an object", field="data", reason="not an object")
    body = _convert(bytes(head.data), kind, at="data")
    if isinstance(body, DirectMessage) and not body.target_user.isprintable():
        raise BadRequest("Not a user id", field="data.target_user", reason="not printable")
    headers, metadata = _headers(head.metadata)
    if not _is_null(head.timestamp):
        _check_number(head.timestamp, at="timestamp")
        metadata.append(b'"client_timestamp":' + bytes(head.timestamp))
    return Command(body, command_id, headers, b",".join(metadata))


def _command_id(raw: Raw) -> str | None:
    if _is_null(raw):
        return None
    found: str = _convert(bytes(raw), PrintableId, at="id")
    if not found.isprintable():
        raise BadRequest("id must be printable", field="id", reason="not printable")
    return found


def _headers(raw: Raw) -> tuple[Headers, list[bytes]]:
    if _is_null(raw):
        return Headers(), []
    headers = _convert(bytes(raw), Headers, at="metadata")
    if headers.idempotency_key is not None and not headers.idempotency_key.isprintable():
        where, reason = "metadata.idempotency_key", "not printable"
        raise BadRequest(f"{where}: {reason}", field=where, reason=reason)
    members = _convert(bytes(raw), dict[str, Raw], at="metadata")
    if headers.ttl is not None:
        _check_number(members["ttl"], at="metadata.ttl")
    kept = {name: value for name, value in members.items() if name not in FOR_THE_SERVER | OURS}
    return headers, [msgspec.json.encode(name) + b":" + bytes(kept[name]) for name in kept]


def _check_number(raw: Raw, *, at: str) -> None:
    """Refuse a number that a double cannot hold exactly (X7)."""
    number = _convert(bytes(raw), int | float, at=at)
    if isinstance(number, int) and (
        abs(number) > sys.float_info.max or int(float(number)) != number
    ):
        reason = "no double holds this number exactly"
        raise BadRequest(f"{at}: {reason}", field=at, reason=reason)


def _is_null(raw: Raw) -> bool:
    return bytes(raw) in {b"", b"null"}


def _convert(raw: bytes, kind: Any, *, at: str) -> Any:
    """Decode ``raw`` into ``kind``; what is wrong becomes a BadRequest that names its place."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        where = (at + place.rstrip("`")).lstrip(".")
        missing = re.search(r"missing required field `(\w+)`", reason)
        if missing:
            where = f"{where}.{missing[1]}".lstrip(".")
        raise BadRequest(
            f"{where or 'message'}: {reason}", field=where or "message", reason=reason
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("Not JSON", field=at or "message", reason=str(error)) from error


# Possessive, and an open string ends with the text: no input makes it look twice at a byte.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def nesting(frame: bytes) -> int:
    """Return how deep arrays and objects are nested, at most; the text need not be valid JSON."""
    opened = frame.count(b"[") + frame.count(b"{")
    if opened <= MAX_DEPTH:
        return opened  # an upper bound, found without a scan, that is all the caller needs
    depth = deepest = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", frame)):
        depth += 1 if bracket[0] in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest

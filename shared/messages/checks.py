"""What holds for the JSON of every client, whatever message it is in (A8, X3, X7)."""

import re
import sys
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from shared.errors import BadRequest

MAX_DEPTH = 32

Whole = Annotated[int, Meta(ge=0, le=2**53)]
"""A number that a double holds exactly (X7)."""

MAX_NAME = 128
"""Characters of an id, a key or a user's name (A8)."""

PrintableId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_NAME,
        extra_json_schema={"pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$"},
    ),
]
"""To be checked by ``check_printable``, which knows of more that cannot be shown."""

FOR_THE_SERVER = frozenset({"echo", "idempotency_key"})
"""Headers that are obeyed and not delivered (X3)."""

OURS = frozenset(
    {
        "client_timestamp",
        "connection_id",
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
    """Seconds that the message may wait in a mailbox or the history; 0 for not at all."""

    priority: Literal["low", "normal", "high"] = "normal"
    """Under back-pressure ``low`` is shed first; nothing is reordered."""

    echo: bool = True
    """Whether a broadcast is delivered to this connection, too (T6)."""

    idempotency_key: PrintableId | None = None
    """Names the message across connections, so that a repeat is recognised (A7)."""


def absent(raw: Raw) -> bool:
    """Whether a field is not there, or ``null``, which means the same."""
    return bytes(raw) in {b"", b"null"}


def check_depth(text: bytes, *, at: str) -> None:
    """Check that arrays and objects are not nested too deep.

    Raises:
        BadRequest: they are.
    """
    if nesting(text) > MAX_DEPTH:
        reason = f"nested deeper than {MAX_DEPTH} levels"
        raise BadRequest(f"{at}: {reason}", field=at, reason=reason, limit=MAX_DEPTH)


def read_id(raw: Raw, *, at: str = "id") -> str | None:
    """Return the client's name for its message, if it has given one (A8).

    Raises:
        BadRequest: it is none.
    """
    if absent(raw):
        return None
    found: str = convert(bytes(raw), PrintableId, at=at)
    check_printable(found, at=at)
    return found


def check_printable(text: str, *, at: str) -> None:
    """Check that a name can be shown.

    Raises:
        BadRequest: it cannot.
    """
    if not text.isprintable():
        raise BadRequest(f"{at}: not printable", field=at, reason="not printable")


def read_headers(metadata: Raw, timestamp: Raw, *, inside: str = "") -> tuple[Headers, bytes]:
    """Return the headers that are obeyed; and those to deliver, as JSON members (X3).

    ``inside`` is what holds the two fields, ``header.``, for errors.

    Raises:
        BadRequest: one that the server reads is wrong.
    """
    headers, kept = Headers(), {}
    if not absent(metadata):
        at = f"{inside}metadata"
        headers = convert(bytes(metadata), Headers, at=at)
        if headers.idempotency_key is not None:
            check_printable(headers.idempotency_key, at=f"{at}.idempotency_key")
        members = convert(bytes(metadata), dict[str, Raw], at=at)
        if headers.ttl is not None:
            _check_number(members["ttl"], at=f"{at}.ttl")
        kept = {name: members[name] for name in members if name not in FOR_THE_SERVER | OURS}
    if not absent(timestamp):
        _check_number(timestamp, at=f"{inside}timestamp")
        kept["client_timestamp"] = timestamp
    return headers, b",".join(
        msgspec.json.encode(name) + b":" + bytes(value) for name, value in kept.items()
    )


def _check_number(raw: Raw, *, at: str) -> None:
    """Refuse a number that a double cannot hold exactly (X7)."""
    number = convert(bytes(raw), int | float, at=at)
    if isinstance(number, int) and (
        abs(number) > sys.float_info.max or int(float(number)) != number
    ):
        reason = "no double holds this number exactly"
        raise BadRequest(f"{at}: {reason}", field=at, reason=reason)


def convert(raw: bytes, kind: Any, *, at: str) -> Any:
    """Decode JSON into ``kind``.

    Raises:
        BadRequest: it does not fit; ``details`` name the ``field``, below ``at``, and the
            ``reason``.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        where = (at + place.rstrip("`")).lstrip(".")
        named = re.search(r"(?:missing required|unknown) field `(\w+)`", reason)
        if named:
            where = f"{where}.{named[1]}".lstrip(".")
        raise BadRequest(
            f"{where or 'message'}: {reason}", field=where or "message", reason=reason
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("Not JSON", field=at or "message", reason=str(error)) from error


# Possessive, and an open string ends with the text: no input makes it look twice at a byte.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)', re.DOTALL)
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def nesting(frame: bytes) -> int:
    """Return how deep arrays and objects are nested, at most; the text need not be valid JSON.

    From 33 levels on it may be less than they are.
    """
    opened = frame.count(b"[") + frame.count(b"{")
    if opened <= MAX_DEPTH:
        return opened  # an upper bound, found without a scan, that is all the caller needs
    left = _STRING.sub(b"", frame).translate(_ONE_KIND, _NO_BRACKETS)
    for level in range(MAX_DEPTH + 1):  # each time the innermost ones go
        before, left = left, left.replace(b"[]", b"")
        if left == before:
            return level + left.count(b"[")
    return MAX_DEPTH + 1

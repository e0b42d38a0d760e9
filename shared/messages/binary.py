"""The binary format: what clients send checked, what they get built (protocol decisions B1 to B4).

    [1 byte: type][4 bytes: length of the payload][payload]             big-endian

From type 0x81 on the payload is [2 bytes: length of the header][header, JSON][body]; below, it is
all body, and goes where the connection's route says.
"""

import hashlib
from dataclasses import dataclass, field

import msgspec
from msgspec import Raw, Struct

from shared.errors import BadRequest
from shared.messages import client, frames
from shared.messages.checks import (
    MAX_NAME,
    Headers,
    Whole,
    check_depth,
    check_printable,
    convert,
    read_headers,
    read_id,
)
from shared.messages.deliveries import DirectDelivery, TopicDelivery
from shared.messages.forms import Form
from shared.topics.pattern import parse_topic

PREFIX_BYTES = 5
HEADER_PREFIX_BYTES = 2
WITH_HEADER = 0x80
"""The bit that tells types with a header from those without."""

MAX_HEADER_BYTES = 32_768
"""Of a client's header: with what the server adds it must still fit its two bytes of length."""


@dataclass(frozen=True, slots=True)
class Header:
    """Where a message goes, what it is called, and what it says of its body."""

    route: client.BinaryRoute
    id: str | None = None
    headers: Headers = field(default_factory=Headers)
    members: bytes = b""
    """What to deliver of it, as JSON members; may be empty."""


@dataclass(frozen=True, slots=True)
class Binary:
    """One checked binary message of a client."""

    form: Form
    size: int
    """Bytes of the payload, as its length field says (B2)."""

    checksum: str
    """Of the payload."""

    header: Header | None
    body: bytes

    def command(self, route: client.BinaryRoute) -> client.Command | None:
        """Return what it asks for; without a header it goes where ``route`` says, or nowhere."""
        header = self.header or Header(route)
        topic, target_user = header.route.topic, header.route.target_user
        body: client.Body
        if topic is not None:
            body = client.Broadcast(topic, Raw(self.body))
        elif target_user is not None:
            body = client.DirectMessage(target_user, Raw(self.body))
        else:
            return None
        return client.Command(body, header.id, header.headers, header.members)


class _Head(Struct):
    id: Raw = Raw(b"")
    metadata: Raw = Raw(b"")
    timestamp: Raw = Raw(b"")


class _About(Struct, omit_defaults=True):
    """What is said of the body; for the receiver alone."""

    name: str | None = None
    content_type: str | None = None
    transfer_id: str | None = None
    seq: Whole | None = None
    final: bool | None = None


# ---- what clients send ---------------------------------------------------------------------------


def parse(frame: bytes) -> Binary:
    """Check one binary message of a client.

    Raises:
        BadRequest: it breaks the format; ``details`` name the ``field`` and the ``reason``, and
            the ``message_id`` if that could be read (A3).
    """
    if len(frame) < PREFIX_BYTES:
        raise _bad("message", f"shorter than {PREFIX_BYTES} bytes")
    try:
        form = Form(frame[0] | WITH_HEADER)
    except ValueError as error:
        known = [f"0x{one & bit:02x}" for bit in (0x7F, 0xFF) for one in Form if one.is_binary]
        raise _bad("type", f"unknown type 0x{frame[0]:02x}", known=known) from error
    payload = memoryview(frame)[PREFIX_BYTES:]
    length = int.from_bytes(frame[1:PREFIX_BYTES], "big")
    if length != len(payload):
        raise _bad("length", f"says {length}, and {len(payload)} bytes follow")
    header, body = _parted(payload) if frame[0] & WITH_HEADER else (None, bytes(payload))
    checksum = f"sha256:{hashlib.sha256(payload).hexdigest()}"
    return Binary(form, length, checksum, None if header is None else _header(header), body)


def _parted(payload: memoryview) -> tuple[bytes, bytes]:
    """Return the header's text, and the body."""
    start = HEADER_PREFIX_BYTES
    if len(payload) < start:
        raise _bad("header_length", "missing")
    end = start + int.from_bytes(payload[:start], "big")
    if end > len(payload):
        raise _bad("header_length", "longer than the payload")
    if end - start > MAX_HEADER_BYTES:
        reason = f"longer than {MAX_HEADER_BYTES} bytes"
        raise _bad("header_length", reason, limit=MAX_HEADER_BYTES)
    return bytes(payload[start:end]), bytes(payload[end:])


def _header(text: bytes) -> Header:
    check_depth(text, at="header")
    head: _Head = convert(text, _Head, at="header")
    command_id = read_id(head.id, at="header.id")
    try:
        route: client.BinaryRoute = convert(text, client.BinaryRoute, at="header")
        if route == client.BinaryRoute():
            raise _bad("header", "topic or target_user is missing")
        check_route(route, at="header")
        headers, metadata = read_headers(head.metadata, head.timestamp, inside="header.")
        about = msgspec.json.encode(convert(text, _About, at="header"))[1:-1]
    except BadRequest as error:
        if command_id is not None:
            error.details["message_id"] = command_id
        raise
    metadata = metadata and b'"metadata":{' + metadata + b"}"
    return Header(route, command_id, headers, b",".join(filter(None, (about, metadata))))


def check_route(route: client.BinaryRoute, *, at: str) -> None:
    """Check that a route names one topic, or one user, or nothing.

    Raises:
        BadRequest: it does not; ``at`` is where it was read.
    """
    topic, target_user = route.topic, route.target_user
    if topic is not None and target_user is not None:
        raise _bad(at, "either topic or target_user is expected")
    if topic is not None:
        try:
            parse_topic(topic)
        except BadRequest as error:
            error.details["field"] = f"{at}.topic"
            raise
    if target_user is not None:
        if not 1 <= len(target_user) <= MAX_NAME:
            raise _bad(f"{at}.target_user", f"1 to {MAX_NAME} characters are expected")
        check_printable(target_user, at=f"{at}.target_user")


def _bad(field: str, reason: str, **details: object) -> BadRequest:
    return BadRequest(f"{field}: {reason}", field=field, reason=reason, **details)


# ---- what clients get ----------------------------------------------------------------------------


def received(
    message: Binary, recipients: int, message_id: str, command_id: str | None = None
) -> bytes:
    """Return the ``Status`` that acknowledges a binary message (B2, B3)."""
    details = {
        "size": message.size,
        "type": message.form.word,
        "checksum": message.checksum,
        "recipients": recipients,
        "message_id": message_id,
    }
    return frames.status("binary_received", details, command_id)


def topic_delivery(delivery: TopicDelivery) -> bytes:
    """Return the binary message that every receiver of a broadcast is written."""
    return pack(delivery.form, frames.topic_header(delivery), delivery.payload)


def direct_delivery(delivery: DirectDelivery) -> bytes:
    """Return the binary message that all connections of a user are written."""
    return pack(delivery.form, frames.direct_header(delivery), delivery.payload)


def pack(form: Form, header: bytes, body: bytes) -> bytes:
    """Return a binary message with a header."""
    length = HEADER_PREFIX_BYTES + len(header) + len(body)
    prefix = bytes((form,)) + length.to_bytes(4, "big")
    return b"".join((prefix, len(header).to_bytes(HEADER_PREFIX_BYTES, "big"), header, body))

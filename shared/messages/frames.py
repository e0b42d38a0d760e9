"""What clients get, as JSON bytes. Field names and units are the protocol reference's."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from shared.errors import ServiceError
from shared.messages import server
from shared.messages.answers import HistoryPage, Seen
from shared.messages.deliveries import DirectDelivery, TopicDelivery
from shared.messages.extensions import ExtensionCommand
from shared.messages.forms import Form

PROTOCOL_VERSION = "1.0"

_encode = msgspec.json.Encoder().encode


class _Message(Struct):
    type: str
    data: Struct | Raw
    id: str | UnsetType = UNSET


def _message(kind: str, data: Struct | Raw, command_id: str | None = None) -> bytes:
    return _encode(_Message(kind, data, UNSET if command_id is None else command_id))


def moment(name: str, at_ms: int) -> dict[str, int]:
    """Return a time twice: whole Unix seconds, and milliseconds under ``name_ms`` (C1)."""
    return {name: at_ms // 1000, f"{name}_ms": at_ms}


def status(kind: str, details: dict[str, Any], command_id: str | None = None) -> bytes:
    """Return a ``Status``; the details are the fields that ``server.STATUSES`` names."""
    shape, shape_of_details = server.STATUSES[kind]
    return _message("Status", shape(shape_of_details(**details)), command_id)


def ack(command_id: str, kind: str, **fields: Any) -> bytes:
    """Return the ``Ack`` that ends a command (A1)."""
    return _message("Ack", server.Ack(command_id, kind, **fields), command_id)


def error(fault: ServiceError, command_id: str | None = None) -> bytes:
    """Return the ``Error`` for a fault (A3, S6)."""
    details = fault.details
    if command_id is not None:
        details = {**details, "message_id": command_id}
    return _message("Error", server.Error(fault.reply_code, fault.message, details), command_id)


def pong(timestamp: bytes, command_id: str | None) -> bytes:
    """Return a ``Pong``; the timestamp is the client's JSON, verbatim (C1)."""
    return _message("Pong", server.Pong(Raw(timestamp)), command_id)


def auth_status(kind: str, expires_at_ms: int, command_id: str | None = None) -> bytes:
    """Return an ``AuthStatus``: ``token_expiring`` or ``renewed`` (S3)."""
    said = server.AuthStatus(kind, expires_at_ms // 1000, expires_at_ms)
    if kind == "token_expiring":
        said.refresh_required = True
    return _message("AuthStatus", said, command_id)


def raw_object(members: Mapping[str, Raw]) -> bytes:
    """Return a JSON object whose values are JSON already, handed on as they came."""
    return _encode(members)


def presence(user_id: str, kind: str, last_seen_ms: int, metadata: bytes) -> bytes:
    """Return the ``data`` of a ``Presence`` message; ``metadata`` is a JSON object."""
    return _encode(
        server.Presence(user_id, kind, last_seen_ms // 1000, last_seen_ms, Raw(metadata))
    )


def history(topic: str, page: HistoryPage, command_id: str | None) -> bytes:
    """Return a ``History``: each message whole, as it was delivered (H1)."""
    messages = [Raw(topic_delivery(one)) for one in page.messages]
    found = server.History(topic, page.epoch, messages, page.offset, page.complete)
    return _message("History", found, command_id)


def person(seen: Seen) -> server.SeenUser:
    """Return how a user is to be seen; ``last_seen`` and ``metadata`` only of one who is known."""
    shown = server.SeenUser(seen.user_id, len(seen.connections), seen.status)
    if seen.last_seen_ms:
        shown.last_seen, shown.last_seen_ms = seen.last_seen_ms // 1000, seen.last_seen_ms
        shown.metadata = Raw(seen.metadata)
    return shown


def people(seen: list[Seen], *, complete: bool) -> server.PresenceState:
    """Return the ``data`` of a ``PresenceState`` about users (P3)."""
    return server.PresenceState([person(one) for one in seen], complete)


MAX_SUBSCRIBERS = 1000
"""Users of a topic that are named."""


def subscribers(topic: str, users: Mapping[str, int], *, complete: bool) -> server.PresenceState:
    """Return the ``data`` of a ``PresenceState`` about a topic: its users' connections (P3)."""
    named = sorted(users.items())[:MAX_SUBSCRIBERS]
    return server.PresenceState(
        [server.SeenUser(user_id, count) for user_id, count in named],
        complete and len(named) == len(users),
        topic,
        sum(users.values()),
    )


def presence_state(data: server.PresenceState, command_id: str | None) -> bytes:
    """Return a ``PresenceState`` (P3)."""
    return _message("PresenceState", data, command_id)


def topic_delivery(delivery: TopicDelivery) -> bytes:
    """Return the ``Broadcast``, or ``Presence``, that every receiver is written.

    A binary message is JSON only in a page of history (H1).
    """
    if delivery.form is Form.PRESENCE:
        return b'{"type":"Presence","data":' + delivery.payload + b"}"
    if delivery.form is Form.NOTIFICATION:
        return _notification(delivery.payload)
    if delivery.form.is_binary:
        body = b64encode(delivery.payload).decode()
        header = Raw(topic_header(delivery))
        return _message("Binary", server.Binary(delivery.form.word, header, body))
    own = _broadcast_metadata(delivery)
    metadata = _joined(delivery.metadata, own) if delivery.metadata else own
    said = server.Broadcast(delivery.topic, Raw(delivery.payload), metadata)
    return _message("Broadcast", said)


def topic_header(delivery: TopicDelivery) -> bytes:
    """Return the header of a binary message on a topic (B3)."""
    topic = _members({"topic": delivery.topic})
    return _object(topic, delivery.metadata, _members(_broadcast_metadata(delivery)))


def _broadcast_metadata(delivery: TopicDelivery) -> server.BroadcastMetadata:
    return server.BroadcastMetadata(
        delivery.sent_at_ms // 1000,
        delivery.sent_at_ms,
        delivery.message_id,
        delivery.from_user,
        delivery.epoch or UNSET,
        delivery.offset or UNSET,
        delivery.replayed or UNSET,
    )


def _notification(data: bytes) -> bytes:
    return b'{"type":"Notification","data":' + data + b"}"


def direct_delivery(delivery: DirectDelivery) -> bytes:
    """Return the ``DirectMessage``, or ``Notification``, that all connections are written."""
    if delivery.form is Form.NOTIFICATION:
        return _notification(delivery.payload)
    own = _direct_metadata(delivery)
    metadata = _joined(delivery.metadata, own) if delivery.metadata else own
    said = server.DirectMessage(delivery.from_user, Raw(delivery.payload), metadata)
    return _message("DirectMessage", said)


def direct_header(delivery: DirectDelivery) -> bytes:
    """Return the header of a binary message to a user (B3)."""
    people = {"target_user": delivery.target_user, "from_user": delivery.from_user}
    return _object(_members(people), delivery.metadata, _members(_direct_metadata(delivery)))


def _direct_metadata(delivery: DirectDelivery) -> server.DirectMessageMetadata:
    return server.DirectMessageMetadata(
        delivery.sent_at_ms // 1000,
        delivery.sent_at_ms,
        delivery.message_id,
        delivery.queued or UNSET,
    )


class _Command(Struct):
    type: str
    data: Raw
    id: str
    metadata: server.ExtensionMetadata | Raw


def extension_command(command: ExtensionCommand, message_id: str) -> bytes:
    """Return a command for a client that serves its extension (X1)."""
    own = server.ExtensionMetadata(
        command.sent_at_ms // 1000,
        command.sent_at_ms,
        message_id,
        command.from_user,
        command.connection_id,
    )
    headers = command.metadata
    metadata = _joined(bytes(headers)[1:-1], own) if isinstance(headers, Raw) else own
    return _encode(_Command(command.type, command.data, message_id, metadata))


def extension_result(kind: str, result: bytes, command_id: str | None) -> bytes:
    """Return what a worker has answered, under the type of the command (X1)."""
    return _message(kind, Raw(result), command_id)


def _joined(members: bytes, own: Struct) -> Raw:
    """Put the client's headers, JSON members already, before the server's own."""
    return Raw(_object(members, _members(own)))


def _members(value: object) -> bytes:
    """Return what stands between the braces of an object."""
    return _encode(value)[1:-1]


def _object(*members: bytes) -> bytes:
    return b"{" + b",".join(filter(None, members)) + b"}"


def ping(at_ms: int) -> bytes:
    """Return a ``Ping`` of ours, which a client answers with a ``Pong`` (C2)."""
    return _message("Ping", server.Ping(at_ms))

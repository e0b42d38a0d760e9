"""What clients get, as JSON bytes. Field names and units are the protocol reference's."""

from collections.abc import Mapping
from typing import Any

import orjson
from msgspec import Raw

from shared.errors import ServiceError
from shared.messages.answers import HistoryPage, Seen
from shared.messages.deliveries import DirectDelivery, TopicDelivery
from shared.messages.forms import Form

PROTOCOL_VERSION = "1.0"


def _message(kind: str, data: dict[str, Any], command_id: str | None = None) -> bytes:
    message: dict[str, Any] = {"type": kind, "data": data}
    if command_id is not None:
        message["id"] = command_id
    return orjson.dumps(message)


def moment(name: str, at_ms: int) -> dict[str, int]:
    """Return a time twice: whole Unix seconds, and milliseconds under ``name_ms`` (C1)."""
    return {name: at_ms // 1000, f"{name}_ms": at_ms}


def status(kind: str, details: dict[str, Any], command_id: str | None = None) -> bytes:
    """Return a ``Status``."""
    return _message("Status", {"status": kind, "details": details}, command_id)


def ack(command_id: str, kind: str, **fields: Any) -> bytes:
    """Return the ``Ack`` that ends a command (A1)."""
    return _message("Ack", {"message_id": command_id, "status": kind, **fields}, command_id)


def error(fault: ServiceError, command_id: str | None = None) -> bytes:
    """Return the ``Error`` for a fault (A3, S6)."""
    details = fault.details
    if command_id is not None:
        details = {**details, "message_id": command_id}
    data = {"code": fault.reply_code, "message": fault.message, "details": details}
    return _message("Error", data, command_id)


def pong(timestamp: bytes, command_id: str | None) -> bytes:
    """Return a ``Pong``; the timestamp is the client's JSON, verbatim (C1)."""
    return _message("Pong", {"timestamp": orjson.Fragment(timestamp)}, command_id)


def auth_status(kind: str, expires_at_ms: int, command_id: str | None = None) -> bytes:
    """Return an ``AuthStatus``: ``token_expiring`` or ``renewed`` (S3)."""
    data: dict[str, Any] = {"status": kind, **moment("expires_at", expires_at_ms)}
    if kind == "token_expiring":
        data["refresh_required"] = True
    return _message("AuthStatus", data, command_id)


def raw_object(members: Mapping[str, Raw]) -> bytes:
    """Return a JSON object whose values are JSON already, handed on as they came."""
    return orjson.dumps({name: orjson.Fragment(bytes(value)) for name, value in members.items()})


def presence(user_id: str, kind: str, last_seen_ms: int, metadata: bytes) -> bytes:
    """Return the ``data`` of a ``Presence`` message; ``metadata`` is a JSON object."""
    return orjson.dumps(
        {
            "user_id": user_id,
            "status": kind,
            **moment("last_seen", last_seen_ms),
            "metadata": orjson.Fragment(metadata),
        }
    )


def history(topic: str, page: HistoryPage, command_id: str | None) -> bytes:
    """Return a ``History``: each message whole, as it was delivered (H1)."""
    return _message(
        "History",
        {
            "topic": topic,
            "epoch": page.epoch,
            "messages": [orjson.Fragment(topic_delivery(one)) for one in page.messages],
            "offset": page.offset,
            "complete": page.complete,
        },
        command_id,
    )


def person(seen: Seen) -> dict[str, Any]:
    """Return how a user is to be seen; ``last_seen`` and ``metadata`` only of one who is known."""
    shown: dict[str, Any] = {"user_id": seen.user_id, "status": seen.status}
    if seen.last_seen_ms:
        shown |= moment("last_seen", seen.last_seen_ms)
        shown["metadata"] = orjson.Fragment(seen.metadata)
    return {**shown, "connections": len(seen.connections)}


def people(seen: list[Seen], *, complete: bool) -> dict[str, Any]:
    """Return the ``data`` of a ``PresenceState`` about users (P3)."""
    return {"users": [person(one) for one in seen], "complete": complete}


MAX_SUBSCRIBERS = 1000
"""Users of a topic that are named."""


def subscribers(topic: str, users: Mapping[str, int], *, complete: bool) -> dict[str, Any]:
    """Return the ``data`` of a ``PresenceState`` about a topic: its users' connections (P3)."""
    named = sorted(users.items())[:MAX_SUBSCRIBERS]
    return {
        "topic": topic,
        "users": [{"user_id": user_id, "connections": count} for user_id, count in named],
        "connections": sum(users.values()),
        "complete": complete and len(named) == len(users),
    }


def presence_state(data: dict[str, Any], command_id: str | None) -> bytes:
    """Return a ``PresenceState`` (P3)."""
    return _message("PresenceState", data, command_id)


def topic_delivery(delivery: TopicDelivery) -> bytes:
    """Return the ``Broadcast``, or ``Presence``, that every receiver is written."""
    if delivery.form is Form.PRESENCE:
        return b'{"type":"Presence","data":' + delivery.payload + b"}"
    if delivery.form is Form.NOTIFICATION:
        return _notification(delivery.payload)
    server: dict[str, Any] = {
        **moment("sent_at", delivery.sent_at_ms),
        "message_id": delivery.message_id,
        "from_user": delivery.from_user,
    }
    if delivery.offset:
        server |= {"epoch": delivery.epoch, "offset": delivery.offset}
    if delivery.replayed:
        server["replayed"] = True
    return _message(
        "Broadcast",
        {
            "topic": delivery.topic,
            "payload": orjson.Fragment(delivery.payload),
            "metadata": _joined(delivery.metadata, server),
        },
    )


def _notification(data: bytes) -> bytes:
    return b'{"type":"Notification","data":' + data + b"}"


def direct_delivery(delivery: DirectDelivery) -> bytes:
    """Return the ``DirectMessage``, or ``Notification``, that all connections are written."""
    if delivery.form is Form.NOTIFICATION:
        return _notification(delivery.payload)
    server: dict[str, Any] = {
        **moment("sent_at", delivery.sent_at_ms),
        "message_id": delivery.message_id,
    }
    if delivery.queued:
        server["queued"] = True
    return _message(
        "DirectMessage",
        {
            "from_user": delivery.from_user,
            "payload": orjson.Fragment(delivery.payload),
            "metadata": _joined(delivery.metadata, server),
        },
    )


def _joined(members: bytes, server: dict[str, Any]) -> orjson.Fragment:
    """Put the client's headers, JSON members already, before the server's own."""
    own = orjson.dumps(server)
    return orjson.Fragment(b"{" + members + b"," + own[1:] if members else own)


def ping(at_ms: int) -> bytes:
    """Return a ``Ping`` of ours, which a client answers with a ``Pong`` (C2)."""
    return _message("Ping", {"timestamp": at_ms})

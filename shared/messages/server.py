"""What the server sends: the ``data`` of each type of message, as frames.py writes it.

The docstrings are read by whoever reads the AsyncAPI document.
"""

from typing import Annotated, Any, TypeAlias

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

Object: TypeAlias = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
"""A JSON object that is written already."""

Seconds = Annotated[int, Meta(description="Unix seconds (C1)")]
Milliseconds = Annotated[int, Meta(description="Unix milliseconds (C1)")]


def _one_of(*values: str) -> Meta:
    return Meta(extra_json_schema={"enum": list(values)})


# ---- what is said of a connection ----------------------------------------------------------------


class Welcome(Struct):
    """Who the client is, and what it may do on this connection (S7)."""

    connection_id: str
    server_time: Seconds
    server_time_ms: Milliseconds
    protocol_version: str
    features: tuple[str, ...]
    limits: dict[str, int]
    heartbeat_interval: int
    """Seconds between the server's WebSocket pings (C2)."""

    user_id: str
    node_id: str
    expires_at: Seconds
    expires_at_ms: Milliseconds


class Subscriptions(Struct):
    """What the connection asked for, and how many patterns it holds now (T7)."""

    topics: list[str]
    active_subscriptions: int
    recovered: dict[str, bool] | UnsetType = UNSET
    """For each topic or pattern of ``recover``: whether all that was missed follows (H3)."""


class Connected(Struct, tag_field="status", tag="connected"):
    """The first message on a connection (S7)."""

    details: Welcome


class Subscribed(Struct, tag_field="status", tag="subscribed"):
    """From here on whatever is said on these patterns reaches the connection (T9)."""

    details: Subscriptions


class Unsubscribed(Struct, tag_field="status", tag="unsubscribed"):
    """From here on nothing more of these patterns arrives (T9)."""

    details: Subscriptions


BinaryType = Annotated[str, _one_of("broadcast", "direct_message", "file_transfer", "stream_data")]


class Received(Struct):
    """What came in a binary message, and whom it has reached (B2)."""

    size: int
    """Bytes of the payload, its header included."""

    type: BinaryType
    checksum: str
    """``sha256:`` and the digest of the payload, in hexadecimal."""

    recipients: int
    """Connections that it was written to."""

    message_id: str
    """What receivers see in the header."""


class BinaryReceived(Struct, tag_field="status", tag="binary_received"):
    """A binary message has come (B2)."""

    details: Received


class Shed(Struct):
    """What a client was not written while it read too slowly (X3)."""

    messages: int
    """Broadcasts of low priority, since the connection began or was last told."""


class CaughtUp(Struct, tag_field="status", tag="shed"):
    """The client reads on, and was spared broadcasts of low priority meanwhile (X3)."""

    details: Shed


Status: TypeAlias = Connected | Subscribed | Unsubscribed | BinaryReceived | CaughtUp


class AuthStatus(Struct):
    """The token expires soon, or a fresh one has taken its place (S3)."""

    status: Annotated[str, _one_of("token_expiring", "renewed")]
    expires_at: Seconds
    expires_at_ms: Milliseconds
    refresh_required: bool | UnsetType = UNSET


class Ping(Struct):
    """Asks the client for a Pong; sent only if the operator wants it (C2)."""

    timestamp: Milliseconds


# ---- replies -------------------------------------------------------------------------------------


class Ack(Struct):
    """Ends a command that had an ``id`` (A1)."""

    message_id: str
    """The command's ``id``."""

    status: Annotated[
        str,
        _one_of("ok", "subscribed", "unsubscribed", "delivered", "partial", "pending", "queued"),
    ]
    recipients: int | UnsetType = UNSET
    """Connections that a broadcast was written to (A5)."""

    delivered_to: list[str] | UnsetType = UNSET
    """Connections that have the direct message (A5)."""

    server_message_id: str | UnsetType = UNSET
    """What receivers see as ``metadata.message_id`` (A6)."""

    succeeded: int | UnsetType = UNSET
    """Operations of a batch (X4)."""

    failed: int | UnsetType = UNSET
    """Operations of a batch (X4)."""


class Error(Struct):
    """A command has failed, or the connection is about to be closed (A3, S6)."""

    code: int
    message: str
    """For people; it may change."""

    details: dict[str, Any]
    """More about it; ``message_id`` is the ``id`` of the command that has failed."""


class Pong(Struct):
    """Answers a Ping."""

    timestamp: Raw
    """The client's, verbatim (C1)."""


class History(Struct):
    """A page of what was said on a topic (H1)."""

    topic: str
    epoch: str
    messages: list[Raw]
    """Each whole, as it was delivered."""

    offset: int
    """Where the topic is now; 0 if nobody has spoken on it."""

    complete: bool
    """Whether nothing that was asked for is lacking."""


class SeenUser(Struct):
    """A user whose presence was asked for, or who is subscribed to the topic that was."""

    user_id: str
    connections: int
    status: Annotated[str, _one_of("online", "away", "busy", "offline")] | UnsetType = UNSET
    last_seen: Seconds | UnsetType = UNSET
    last_seen_ms: Milliseconds | UnsetType = UNSET
    metadata: Object | UnsetType = UNSET


class PresenceState(Struct):
    """Who is online of some users, or who is subscribed to a topic (P3)."""

    users: list[SeenUser]
    complete: bool
    """Whether nobody may be missing."""

    topic: str | UnsetType = UNSET
    connections: int | UnsetType = UNSET
    """Of all subscribers of the topic."""


# ---- what others have said -----------------------------------------------------------------------


class BroadcastMetadata(Struct):
    """What the server says of a broadcast, beside the sender's own headers (X3)."""

    sent_at: Seconds
    sent_at_ms: Milliseconds
    message_id: str
    from_user: str
    epoch: str | UnsetType = UNSET
    """Whose count ``offset`` is (H2)."""

    offset: int | UnsetType = UNSET
    """The place in the topic's history, if it has one (H2)."""

    replayed: bool | UnsetType = UNSET
    """It was missed, and is given again (H3)."""


class Broadcast(Struct):
    """Something was said on a topic."""

    topic: str
    payload: Raw
    """The sender's JSON value, untouched (X6)."""

    metadata: BroadcastMetadata | Raw


class Binary(Struct):
    """A binary message in a page of history (H1)."""

    type: BinaryType
    header: Object
    body: str
    """In base64."""


class DirectMessageMetadata(Struct):
    """What the server says of a direct message, beside the sender's own headers (X3)."""

    sent_at: Seconds
    sent_at_ms: Milliseconds
    message_id: str
    queued: bool | UnsetType = UNSET
    """It waited in the mailbox (R3)."""


class DirectMessage(Struct):
    """Somebody says something to this user (R2)."""

    from_user: str
    payload: Raw
    """The sender's JSON value, untouched (X6)."""

    metadata: DirectMessageMetadata | Raw


class ExtensionMetadata(Struct):
    """What the server says of a command to the client that is to carry it out (X1)."""

    sent_at: Seconds
    sent_at_ms: Milliseconds
    message_id: str
    from_user: str
    """Who asks."""

    connection_id: str


class Presence(Struct):
    """How a user is to be seen (P2)."""

    user_id: str
    status: Annotated[str, _one_of("online", "away", "busy", "offline")]
    last_seen: Seconds
    last_seen_ms: Milliseconds
    metadata: Object


class Action(Struct):
    """Something that a reader of a notification may do."""

    label: str
    url: str


class Notification(Struct):
    """The service itself has something to say (X5)."""

    id: str
    level: Annotated[str, _one_of("info", "success", "warning", "error")]
    title: str
    message: str
    actions: list[Action]
    sent_at: Seconds
    sent_at_ms: Milliseconds


BODIES: dict[str, Any] = {
    "Status": Status,
    **{
        body.__name__: body
        for body in (
            AuthStatus,
            Ping,
            Ack,
            Error,
            Pong,
            History,
            PresenceState,
            Broadcast,
            DirectMessage,
            Presence,
            Notification,
        )
    },
}
"""What ``data`` is, by the type of the message."""

STATUSES: dict[str, tuple[Any, type[Struct]]] = {
    "connected": (Connected, Welcome),
    "subscribed": (Subscribed, Subscriptions),
    "unsubscribed": (Unsubscribed, Subscriptions),
    "binary_received": (BinaryReceived, Received),
    "shed": (CaughtUp, Shed),
}
"""A Status and its details, by ``status``."""

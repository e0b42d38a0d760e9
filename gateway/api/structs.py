"""PURE: what back ends send, and what they get. The OpenAPI document is made of these."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from shared.messages.checks import Headers, PrintableId

WORD = r"[A-Za-z0-9_:@%\-]+"

UserId = Annotated[PrintableId, Meta(description="A user, as in `sub`.")]
Topic = Annotated[
    str,
    Meta(
        max_length=255,
        pattern=rf"^\$?{WORD}(\.{WORD}){{0,15}}$",
        description="A topic, without wildcards (T2).",
    ),
]
Metadata = Annotated[
    dict[str, Raw],
    Meta(
        description="Headers of the message; any others are delivered, too (X3).",
        extra_json_schema={
            "properties": msgspec.json.schema(Headers)["$defs"]["Headers"]["properties"]
        },
    ),
]
Sender = Annotated[
    UserId | None,
    Meta(description="On whose behalf; by default the token's user, or `$service` with a key."),
]
Complete = Annotated[bool, Meta(description="False if somebody has not answered in time.")]

# ---- requests ------------------------------------------------------------------------------------


class BroadcastRequest(Struct, forbid_unknown_fields=True):
    """Something to say on a topic, also on `system` topics."""

    topic: Topic
    payload: Annotated[Raw, Meta(description="Any JSON, at most 65,536 bytes.")]
    metadata: Metadata = {}
    from_user: Sender = None


class DirectMessageRequest(Struct, forbid_unknown_fields=True):
    """Something to say to a user, wherever they are."""

    target_user: UserId
    payload: Annotated[Raw, Meta(description="Any JSON, at most 65,536 bytes.")]
    metadata: Metadata = {}
    from_user: Sender = None


class Action(Struct, forbid_unknown_fields=True):
    """Something that the reader of a notification can do."""

    label: Annotated[str, Meta(min_length=1, max_length=100)]
    url: Annotated[str, Meta(pattern=r"^https://[!-~]+$", max_length=2048)]


class All(Struct, tag="all", tag_field="to", forbid_unknown_fields=True):
    """Every connection."""


class Users(Struct, tag="users", tag_field="to", forbid_unknown_fields=True):
    """All connections of some users."""

    users: Annotated[list[UserId], Meta(min_length=1, max_length=1000)]


class Topics(Struct, tag="topics", tag_field="to", forbid_unknown_fields=True):
    """Those who subscribe to any of some topics."""

    topics: Annotated[list[Topic], Meta(min_length=1, max_length=100)]


class NamedConnections(Struct, tag="connections", tag_field="to", forbid_unknown_fields=True):
    """Some connections, by their ids."""

    connections: Annotated[list[PrintableId], Meta(min_length=1, max_length=1000)]


class NotificationRequest(Struct, forbid_unknown_fields=True):
    """Something that the service tells people (X5)."""

    audience: All | Users | Topics | NamedConnections
    title: Annotated[str, Meta(min_length=1, max_length=200)]
    message: Annotated[str, Meta(max_length=10_000)]
    level: Literal["info", "success", "warning", "error"] = "info"
    actions: Annotated[list[Action], Meta(max_length=10)] = []
    ttl: Annotated[
        float,
        Meta(
            ge=0,
            le=31_536_000,
            description="Seconds it may wait for users who are offline; 0 for not at all.",
        ),
    ] = 0.0


class DisconnectRequest(Struct, forbid_unknown_fields=True):
    """How a user's connections are to be ended."""

    revoke: Annotated[
        bool,
        Meta(description="Also refuse every token of the user that was issued before now."),
    ] = False


class HistoryQuery(Struct, forbid_unknown_fields=True):
    """Which part of a topic's history is asked for."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 50
    before: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    after: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    reverse: bool = False


class PresenceQuery(Struct, forbid_unknown_fields=True):
    """Who is asked about."""

    user: Annotated[list[UserId], Meta(min_length=1, max_length=100)]


# ---- answers -------------------------------------------------------------------------------------


class BroadcastResult(Struct):
    """What became of a broadcast."""

    message_id: str
    status: Literal["delivered", "partial"]
    recipients: Annotated[int, Meta(description="Connections that it was written to.")]


class DirectMessageResult(Struct):
    """What became of a direct message; one that was not even kept is a 404."""

    message_id: str
    status: Literal["delivered", "pending", "queued"]
    delivered_to: Annotated[list[str], Meta(description="Connections.")]


class NotificationResult(Struct):
    """What became of a notification."""

    message_id: str
    recipients: Annotated[int, Meta(description="Connections that it was written to.")]
    queued: Annotated[int, Meta(description="Users for whom it waits.")]
    complete: Complete


class UserPresence(Struct, omit_defaults=True):
    """How a user is to be seen; of one who is offline nothing more is known."""

    user_id: str
    status: Annotated[str, Meta(description="`online`, `away`, `busy` or `offline`.")]
    connections: int
    last_seen: int | UnsetType = UNSET
    last_seen_ms: int | UnsetType = UNSET
    metadata: dict[str, Raw] | UnsetType = UNSET


class PeoplePresence(Struct):
    """How users are to be seen, in the order asked."""

    users: list[UserPresence]
    complete: Complete


class Subscriber(Struct):
    """A user who is subscribed to a topic."""

    user_id: str
    connections: int


class Subscribers(Struct):
    """Who is subscribed to a topic; at most 1,000 users are named."""

    topic: str
    users: list[Subscriber]
    connections: int
    complete: Complete


class Place(Struct):
    """A connection, and the gateway that holds it."""

    connection_id: str
    node_id: str


class Connections(Struct):
    """Where a user is connected."""

    user_id: str
    connections: list[Place]
    complete: Complete


class HistoryPage(Struct):
    """A page of a topic's history, each message as it was delivered (H1)."""

    topic: str
    epoch: str
    messages: list[Raw]
    offset: int
    complete: bool


class DisconnectResult(Struct):
    """How many connections of a user were ended."""

    user_id: str
    disconnected: int
    revoked: bool
    complete: Complete


class EraseResult(Struct):
    """How many messages of a user, or to them, were dropped."""

    user_id: str
    messages: int


class GatewayState(Struct):
    """One gateway."""

    node_id: str
    connections: int
    commands_per_second: float
    deliveries_per_second: float
    release: Annotated[str, Meta(description="What it runs; empty if it is too old to say.")]
    p50_ms: Annotated[float, Meta(description="Half of the last second's commands took no longer.")]
    p99_ms: Annotated[float, Meta(description="99 of 100 of them took no longer.")]
    draining: Annotated[bool, Meta(description="It sends its clients to other gateways.")]


class ReplicaState(Struct):
    """One replica of the router or the presence service."""

    node_id: str
    service: str
    partitions: Annotated[list[int], Meta(description="Those it serves.")]
    commands_per_second: float
    release: Annotated[str, Meta(description="What it runs; empty if it is too old to say.")]


class ClusterState(Struct):
    """Who is in the cluster."""

    partitions: int
    gateways: list[GatewayState]
    replicas: list[ReplicaState]
    unserved: Annotated[
        dict[str, list[int]], Meta(description="By service: partitions that nobody serves now.")
    ]


class ErrorDetails(Struct):
    """What was wrong, as in the WebSocket protocol."""

    code: int
    message: str
    details: dict[str, Raw]


class ErrorMessage(Struct):
    """The protocol's Error."""

    type: Literal["Error"]
    data: ErrorDetails

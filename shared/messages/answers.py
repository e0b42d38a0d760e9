"""What the gateway that asked is answered: by the owner, and by receipts of nodes."""

from typing import TypeAlias

from msgspec import Struct

from shared.messages.deliveries import TopicDelivery


class Routed(Struct, tag=30, array_like=True):
    """These nodes were given the broadcast; each sends a receipt."""

    ask: str
    message_id: str
    nodes: list[str]
    complete: bool
    """False if a node may have been missed or refused it."""


class Receipt(Struct, tag=31, array_like=True):
    """So many connections of this node were written the broadcast."""

    ask: str
    node_id: str
    recipients: int


class Located(Struct, tag=32, array_like=True):
    """These nodes were given the direct message; each sends a receipt or returns it."""

    ask: str
    message_id: str
    nodes: list[str]


class DirectReceipt(Struct, tag=33, array_like=True):
    """These connections were written the direct message; with none, the node returns it."""

    ask: str
    node_id: str
    delivered_to: list[str]
    pending: bool = False
    """Written to connections that have not confirmed it yet (R2)."""


class Stored(Struct, tag=34, array_like=True):
    """The user is not here; the message waits for them, or it could not be kept."""

    ask: str
    message_id: str
    queued: bool


class HistoryPage(Struct, tag=35, array_like=True):
    """A page of a topic's history."""

    ask: str
    epoch: str
    offset: int
    complete: bool
    messages: list[TopicDelivery]


class Recovered(Struct, tag=36, array_like=True):
    """A page of what a client has missed."""

    ask: str
    recovered: bool
    serial: int
    more: bool
    messages: list[TopicDelivery]


class Subscribers(Struct, tag=37, array_like=True):
    """Who is subscribed to a topic on this node: users, and how many of their connections."""

    ask: str
    node_id: str
    users: dict[str, int]


class Seen(Struct, array_like=True):
    """How a user is to be seen; ``offline`` is one of whom nothing is known."""

    user_id: str
    status: str
    last_seen_ms: int
    metadata: bytes
    """A JSON object."""

    connections: dict[str, str]
    """By id: the node that holds it."""


class People(Struct, tag=38, array_like=True):
    """How the users are to be seen that were asked for."""

    ask: str
    people: list[Seen]
    complete: bool
    """False if a node that lives has not reported its connections yet."""


class Erased(Struct, tag=39, array_like=True):
    """So many messages of a user were dropped."""

    ask: str
    messages: int


class StepTold(Struct, array_like=True):
    """A step of a message through one process."""

    name: str
    began_ns: int
    """Unix time, by the clock of that process."""

    took_ns: int | None
    """None while it lasts."""

    details: dict[str, str | int]


class TrailTold(Struct, tag=82, array_like=True):
    """What one process remembers of a message; nothing if it does not."""

    ask: str
    """The message's id."""

    service: str
    node_id: str
    steps: list[StepTold]


Answer: TypeAlias = (
    Routed
    | Receipt
    | Located
    | DirectReceipt
    | Stored
    | HistoryPage
    | Recovered
    | Subscribers
    | People
    | Erased
    | TrailTold
)

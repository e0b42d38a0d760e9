"""PURE: what happened in a run, as its clients saw it and as faults were injected.

Times are seconds of one monotonic clock. A connection goes by the name that its client gave it,
such as ``alice/3``; ``Welcomed`` tells the server's own id for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

Kind = Literal["broadcast", "direct"]


class Key(NamedTuple):
    """The sender's own name for a command; it travels in the payload."""

    client: str
    number: int


# ---- commands ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """A command was written to a socket; a repeat of it is another ``Sent`` of the same key."""

    at: float
    key: Key
    connection: str
    kind: Kind
    to: str
    """The topic, or the target user."""


@dataclass(frozen=True, slots=True)
class Acked:
    """An Ack came."""

    at: float
    key: Key
    connection: str
    status: str
    recipients: int | None = None
    delivered_to: tuple[str, ...] = ()
    """The server's ids of connections."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An Error came. One with ``queued`` is followed by an Ack and is no end (A2)."""

    at: float
    key: Key
    connection: str
    code: int
    queued: bool | None = None
    outcome: str = ""


# ---- connections ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opening:
    """A client begins to connect."""

    at: float
    connection: str
    client: str
    user: str
    resumes: bool
    """It confirms direct messages (R2) and recovers its topics (H3)."""


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The Welcome came."""

    at: float
    connection: str
    connection_id: str
    node: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is gone, or never came about."""

    at: float
    connection: str
    code: int | None = None
    wanted: bool = False
    """The client left by its own will."""


@dataclass(frozen=True, slots=True)
class Subscribing:
    """A Subscribe was sent."""

    at: float
    connection: str
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a client asked for with ``recover``, and whether it was told that it got it."""

    pattern: str
    recovered: bool
    offset: int | None = None
    """None: it asked by time, and must expect messages that it has seen already."""

    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The Status came: a promise (T9)."""

    at: float
    connection: str
    patterns: tuple[str, ...]
    recoveries: tuple[Recovery, ...] = ()


@dataclass(frozen=True, slots=True)
class Unsubscribing:
    """An Unsubscribe was sent."""

    at: float
    connection: str
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """Its Status came: from here on nothing more of these patterns arrives."""

    at: float
    connection: str
    patterns: tuple[str, ...]


# ---- what arrives --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """A broadcast or direct message came."""

    at: float
    connection: str
    kind: Kind
    key: Key | None
    """None: the payload is none of ours."""

    message_id: str
    topic: str = ""
    offset: int | None = None
    epoch: str = ""
    replayed: bool = False
    queued: bool = False
    sent_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class PresenceSeen:
    """A Presence message came."""

    at: float
    connection: str
    user: str
    status: str


# ---- what was done to the cluster ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FaultBegan:
    """A fault was injected, into one node or ``rabbitmq``."""

    at: float
    name: str
    target: str


@dataclass(frozen=True, slots=True)
class FaultEnded:
    """All that the injection held up was let go."""

    at: float
    name: str
    target: str
    cut_off: tuple[str, ...] = ()
    """Processes whose own node of RabbitMQ did not serve meanwhile, while another one did."""


@dataclass(frozen=True, slots=True)
class ProcessStarted:
    """A process was started, for the first time or again."""

    at: float
    node: str


@dataclass(frozen=True, slots=True)
class Stalled:
    """The recorder itself came this much too late: the machine is busy."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing is recorded after this."""

    at: float


Event: TypeAlias = (
    Sent
    | Acked
    | Failed
    | Opening
    | Welcomed
    | Closed
    | Subscribing
    | Subscribed
    | Unsubscribing
    | Unsubscribed
    | Received
    | PresenceSeen
    | FaultBegan
    | FaultEnded
    | ProcessStarted
    | Stalled
    | Ended
)


@dataclass(frozen=True)
class History:
    """All events of a run, in the order of their times, and what the queues held at its end."""

    events: Sequence[Event]
    queues: Mapping[str, int] = field(default_factory=dict)

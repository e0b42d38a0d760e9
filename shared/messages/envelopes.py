"""What the services say to each other.

Commands and facts travel from a gateway to the owner of a partition, numbered; deliveries from an
owner to nodes; answers to the gateway that asked; news to everybody concerned.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta, Raw, Struct

# ---- who speaks ----------------------------------------------------------------------------------


class Sender(Struct, frozen=True, array_like=True):
    """One life of one process of the cluster."""

    node_id: str
    process: str
    """ULID made at the start; owns the command numbers."""

    boot: str
    """ULID made at the start and whenever the node's lease or a connection was lost."""

    def precedes(self, other: "Sender") -> bool:
        """Whether this is an earlier life of the same node. ULIDs sort by time."""
        return (self.process, self.boot) < (other.process, other.boot)


# ---- commands and facts for the router -----------------------------------------------------------


class RouteBroadcast(Struct, tag=1, array_like=True):
    """Deliver this to every connection that wants the topic."""

    message_id: str
    topic: str
    payload: bytes
    metadata: bytes = b""
    from_user: str = ""
    presence: bool = False
    """The payload is the whole ``data`` of a Presence message."""

    answer: bool = True
    """Whether the sender counts the recipients."""

    except_connection: str = ""
    only_node: str = ""
    only_connection: str = ""
    idempotency_key: str = ""
    live_only: bool = False
    """Not for the history (H2)."""


class InterestGained(Struct, tag=2, array_like=True):
    """Some connection of the node now wants these patterns."""

    patterns: list[str]


class InterestLost(Struct, tag=3, array_like=True):
    """No connection of the node wants these patterns any more."""

    patterns: list[str]


class InterestReport(Struct, tag=4, array_like=True):
    """All that the node wants of this partition, in one part or several."""

    patterns: list[str]
    first: bool
    last: bool


class HistoryAsked(Struct, tag=5, array_like=True):
    """A client asks for a page of a topic's history (H1)."""

    ask: str
    topic: str
    limit: int
    after: int | None = None
    before: int | None = None
    reverse: bool = False


class RecoveryAsked(Struct, tag=6, array_like=True):
    """A client asks for what it has missed of a topic or pattern (H3)."""

    ask: str
    pattern: str
    since_ms: int | None = None
    position: tuple[str, int] | None = None
    """Epoch and offset of the last message seen."""

    after_serial: int = 0
    """Where the last page of the answer ended."""

    max_bytes: int = 65_536
    """Of one page."""


class ReplayAsked(Struct, tag=7, array_like=True):
    """A node has missed deliveries: give it again what it wants after this serial."""

    ask: int
    """The node's count of such questions."""

    after_serial: int


# ---- commands and facts for the presence service -------------------------------------------------


class RouteDirectMessage(Struct, tag=10, array_like=True):
    """Deliver this to every connection of a user, or keep it for them."""

    message_id: str
    target_user: str
    from_user: str
    payload: bytes
    metadata: bytes = b""
    ttl: float | None = None
    """Seconds it may wait in a mailbox; None for as long as a mailbox keeps messages."""

    idempotency_key: str = ""


class Opened(Struct, array_like=True):
    """A connection as presence knows it."""

    user_id: str
    connection_id: str
    metadata: bytes = b"{}"
    """JSON object: the token's ``presence`` claim."""

    welcomed: bool = False
    """Whether its Welcome was written, so that its user has been announced."""


class ConnectionOpened(Struct, tag=11, array_like=True):
    """A connection of this user is about to be welcomed."""

    connection: Opened


class ConnectionClosed(Struct, tag=12, array_like=True):
    """A connection of this user is gone."""

    user_id: str
    connection_id: str


class ConnectionsReport(Struct, tag=13, array_like=True):
    """All connections of the node whose users belong to this partition."""

    connections: list[Opened]
    first: bool
    last: bool


class PresenceSet(Struct, tag=14, array_like=True):
    """A client says how its user is to be seen (P2)."""

    user_id: str
    status: str
    metadata: bytes | None


SNAPSHOT_LIMIT = 1000
"""Users in the presence snapshot of one subscription (P1)."""


class PresenceAsked(Struct, tag=15, array_like=True):
    """A connection subscribed to presence; tell it who is online now (P1)."""

    connection_id: str
    patterns: list[str]


class DirectDelivery(Struct, tag=20, array_like=True):
    """A direct message for connections of one node."""

    message_id: str
    target_user: str
    from_user: str
    payload: bytes
    metadata: bytes
    sent_at_ms: int
    ask: str
    """What the receipt is about: the id minted for the command that is to be answered."""

    report_to: str
    """The answers queue that waits for the receipt."""

    nodes: list[str]
    """All nodes that were given this message."""

    connection_id: str = ""
    """Only for this connection; empty for all of the user's."""

    queued: bool = False
    ttl: float | None = None
    known: bool = False
    """Delivered before; to be reported again, and not written (A7)."""


class DirectMessageReturned(Struct, tag=16, array_like=True):
    """No connection of the user on this node has taken it; look again."""

    delivery: DirectDelivery
    unconfirmed: bool = False
    """There is a connection, but it has not confirmed the message in time (R2)."""

    unwritten: bool = False
    """There is a connection, but it must confirm others first: nothing may overtake this one."""

    behind: bool = False
    """There may be a connection, but something for the user was handed back before this."""


class DirectMessageUndelivered(Struct, tag=17, array_like=True):
    """No gateway has taken it in time; look again."""

    delivery: DirectDelivery


class MailboxAsked(Struct, tag=18, array_like=True):
    """A connection that had left messages unconfirmed confirms again."""

    user_id: str
    connection_id: str


class SettleAsked(Struct, tag=23, array_like=True):
    """Say when all that came before this for the user is handed to connections, or back (R1)."""

    user_id: str
    """Empty for all users of the partition."""

    node_id: str
    moved: bool = False
    """The user is elsewhere, too: hand back also what waits for a client here."""


class Settled(Struct, tag=19, array_like=True):
    """The node has handed on, or back, all that it was given for the user before it was asked."""

    user_id: str
    """Empty for all users of the partition."""

    node_id: str


RouterCommand: TypeAlias = (
    RouteBroadcast
    | InterestGained
    | InterestLost
    | InterestReport
    | HistoryAsked
    | RecoveryAsked
    | ReplayAsked
)
PresenceCommand: TypeAlias = (
    RouteDirectMessage
    | ConnectionOpened
    | ConnectionClosed
    | ConnectionsReport
    | PresenceSet
    | PresenceAsked
    | DirectMessageReturned
    | DirectMessageUndelivered
    | MailboxAsked
    | Settled
)


class Numbered(Struct, array_like=True):
    """An envelope with its place in the sender's count for this partition.

    The count never goes back, but for a command that is sent again under its old number.
    """

    number: int
    envelope: Raw


class CommandBatch(Struct, array_like=True):
    """What one sender tells one partition, in order."""

    sender: Sender
    answers: str
    """The queue on which the sender waits for answers; empty if it waits for none."""

    items: list[Numbered]


# ---- deliveries to nodes -------------------------------------------------------------------------


class TopicDelivery(Struct, tag=21, array_like=True):
    """A message for those connections of a node that want its topic."""

    process: str
    number: int
    """With ``process``: the command's number; a repeat has the same."""

    message_id: str
    topic: str
    payload: bytes
    metadata: bytes
    from_user: str
    sent_at_ms: int
    presence: bool
    ask: str
    report_to: str
    except_connection: str = ""
    only_connection: str = ""
    serial: int = 0
    """Its place among the kept broadcasts of the partition; 0 if it is not kept."""

    epoch: str = ""
    offset: int = 0
    """Its place in the topic's history (H2)."""

    replayed: bool = False


class ReplayEnded(Struct, tag=22, array_like=True):
    """What was asked for again has been delivered, as far as it is still held."""

    ask: int
    lost: int
    """Messages, of whatever topic, that are not held any more."""


class DeliveryBatch(Struct, array_like=True):
    """What one reign hands to one node, in order."""

    partition: int
    term: int
    sequence: int
    """Counts this reign's batches for this queue, from 1; one without items repeats the last."""

    serial: int
    """Up to this kept broadcast the queue was given all that its node wants; 0 if more follows."""

    items: list[Raw]


# ---- answers to the gateway that asked -----------------------------------------------------------


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


Answer: TypeAlias = Routed | Receipt | Located | DirectReceipt | Stored | HistoryPage | Recovered

# ---- news ----------------------------------------------------------------------------------------


class Lease(Struct, tag=40, array_like=True):
    """A node lives; once a second."""

    sender: Sender
    clock_ms: int
    connections: int
    commands: int = 0
    """Messages from clients since its start."""

    deliveries: int = 0
    """Messages written to clients since its start."""


class LeaseEnded(Struct, tag=41, array_like=True):
    """A node's life is over: it said so itself, or a replica has not heard from it."""

    sender: Sender
    clean: bool
    """Said by the node itself; False if a replica has given it up."""

    superseded: bool = False
    """Another, younger process calls itself by the same node id."""


Term: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
"""A reign's number; a senseless one must leave room for those above it."""


class Heartbeat(Struct, tag=42, array_like=True):
    """A replica lives, and serves these partitions."""

    service: str
    replica: str
    beat: int
    """Rises once a second; news of a term in between repeats the last one."""

    clock_ms: int
    terms: dict[int, Term]
    """Partition to the term of this replica's reign."""

    standing_by: list[int]
    """Partitions that it would take over."""

    node_id: str = ""
    performed: int = 0
    """Commands and facts carried out since its start."""


News: TypeAlias = Lease | LeaseEnded | Heartbeat

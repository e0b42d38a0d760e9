"""What gateways tell the owners of partitions: commands and facts, in numbered batches."""

from typing import TypeAlias

from msgspec import Raw, Struct

from shared.messages.deliveries import Audience, DirectDelivery
from shared.messages.forms import Form
from shared.messages.version import ENVELOPE_VERSION

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
    form: Form = Form.JSON
    answer: bool = True
    """Whether the sender counts the recipients."""

    except_connection: str = ""
    only_node: str = ""
    only_connection: str = ""
    idempotency_key: str = ""
    ttl: float | None = None
    """Seconds it may be in the history; 0 for not at all (H2, X3)."""

    low: bool = False
    """Shed first under back-pressure (X3)."""

    audience: Audience | None = None
    """Not for who wants the topic, but for these, on every node (X5)."""

    trace: str = ""
    """The span that it follows from, as ``traceparent`` (W3C Trace Context); empty without one."""


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


class SubscribersAsked(Struct, tag=8, array_like=True):
    """Somebody asks who is subscribed to a topic (P3)."""

    ask: str
    topic: str


class EraseUser(Struct, tag=9, array_like=True):
    """Drop all that is kept of a user: to every partition of both services."""

    ask: str
    user_id: str


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
    form: Form = Form.JSON
    ask: str = ""
    """What the answers are about; empty for ``message_id``, which need not be one user's alone."""

    trace: str = ""
    """See ``RouteBroadcast``."""


class Opened(Struct, array_like=True):
    """A connection as presence knows it."""

    user_id: str
    connection_id: str
    metadata: bytes = b"{}"
    """JSON object: the token's ``presence`` claim."""

    welcomed: bool = False
    """Whether its Welcome was written, so that its user has been announced."""

    issued_at_ms: int = 0
    """When its token was issued; 0 if that does not say."""


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


class Settled(Struct, tag=19, array_like=True):
    """The node has handed on, or back, all that it was given for the user before it was asked."""

    user_id: str
    """Empty for all users of the partition."""

    node_id: str


class PeopleAsked(Struct, tag=80, array_like=True):
    """Somebody asks how users are to be seen, and where they are connected (P3)."""

    ask: str
    users: list[str]


class DisconnectUser(Struct, tag=81, array_like=True):
    """End all connections of a user."""

    ask: str
    user_id: str
    revoke_ms: int = 0
    """Tokens that were not issued after this moment are good no more; 0 to leave them be."""


RouterCommand: TypeAlias = (
    RouteBroadcast
    | InterestGained
    | InterestLost
    | InterestReport
    | HistoryAsked
    | RecoveryAsked
    | ReplayAsked
    | SubscribersAsked
    | EraseUser
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
    | PeopleAsked
    | DisconnectUser
    | EraseUser
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
    version: int = ENVELOPE_VERSION

"""What an owner hands to nodes, and asks them about it."""

from msgspec import Raw, Struct

from shared.messages.forms import Form
from shared.messages.version import ENVELOPE_VERSION


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

    form: Form = Form.JSON
    trace: str = ""
    """The span that it follows from, as ``traceparent`` (W3C Trace Context); empty without one."""


class SettleAsked(Struct, tag=23, array_like=True):
    """Say when all that came before this for the user is handed to connections, or back (R1)."""

    user_id: str
    """Empty for all users of the partition."""

    node_id: str
    moved: bool = False
    """The user is elsewhere, too: hand back also what waits for a client here."""


class Dismissal(Struct, tag=25, array_like=True):
    """Connections of a user that are to be ended."""

    user_id: str
    revoked_ms: int = 0
    """Only those whose tokens were not issued after this moment: those are good no more, so that
    they need not come back with them (S5); 0 for all connections, which may."""

    connection_id: str = ""
    """Only this one; empty for all of the user's."""

    ask: str = ""
    report_to: str = ""
    """The answers queue that waits for the receipt; empty if none does."""

    crowded: bool = False
    """Because the user has too many (W15)."""


class SubscribersWanted(Struct, tag=24, array_like=True):
    """Say who is subscribed to a topic on this node (P3)."""

    topic: str
    ask: str
    report_to: str


class Audience(Struct, array_like=True):
    """Whom a notification is for, on every node; all connections if nothing is listed (X5)."""

    topics: list[str] = []
    connections: list[str] = []


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
    form: Form
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
    low: bool = False
    """Shed first under back-pressure (X3)."""

    audience: Audience | None = None
    """For these, and not for who wants the topic."""

    known: bool = False
    """Delivered before; to be counted again, and not written (A7)."""

    trace: str = ""
    """See ``DirectDelivery``."""


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
    version: int = ENVELOPE_VERSION

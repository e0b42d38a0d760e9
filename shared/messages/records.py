"""What an owner writes into its partition's log, so that its successor knows what it knew.

A checkpoint is made of the same records: those that would rebuild the present state.
"""

from typing import TypeAlias

from msgspec import Raw, Struct

from shared.messages.deliveries import DirectDelivery
from shared.messages.envelopes import Sender
from shared.messages.forms import Form

# ---- every log -----------------------------------------------------------------------------------


class ReignBegan(Struct, frozen=True, tag=50, array_like=True):
    """From here on this owner writes."""

    reign: str
    """ULID made for this reign; that of the first one is the log's own identity."""


class CheckpointBegan(Struct, frozen=True, tag=51, array_like=True):
    """What follows rebuilds everything; nothing before it need be read."""

    checkpoint: str
    log: str


class CheckpointEnded(Struct, frozen=True, tag=52, array_like=True):
    """The checkpoint is whole."""

    checkpoint: str


class Met(Struct, frozen=True, tag=53, array_like=True):
    """A life of a node has reported to this partition."""

    sender: Sender


class Parted(Struct, frozen=True, tag=54, array_like=True):
    """That life is over."""

    sender: Sender


class Behind(Struct, frozen=True, tag=55, array_like=True):
    """An inbox has refused a batch, and its node does not know that yet."""

    inbox: str


class CaughtUp(Struct, frozen=True, tag=56, array_like=True):
    """Its node knows, or is gone."""

    inbox: str


# ---- the router's --------------------------------------------------------------------------------


class Published(Struct, frozen=True, tag=60, array_like=True):
    """A broadcast, as it was delivered."""

    serial: int
    """Counts the kept broadcasts of the partition."""

    process: str
    number: int
    message_id: str
    topic: str
    epoch: str
    offset: int
    """Counts the kept broadcasts of the topic (H2)."""

    sent_at_ms: int
    payload: bytes
    metadata: bytes
    from_user: str
    except_connection: str = ""
    form: Form = Form.JSON
    ttl: float | None = None
    """Seconds it may be held; None for as long as the topic's retention allows (X3)."""


class KeyUsed(Struct, frozen=True, tag=61, array_like=True):
    """Something was done under an idempotency key (A7)."""

    user_id: str
    key: str
    message_id: str
    process: str
    number: int
    at_ms: int


class TopicReached(Struct, frozen=True, tag=62, array_like=True):
    """How far a topic's history has come; of its messages only in a checkpoint nothing is said."""

    topic: str
    epoch: str
    offset: int
    sent_at_ms: int
    evicted_ms: int
    """When the last message was sent that history has dropped; 0 if none was."""


class HistoryReached(Struct, frozen=True, tag=63, array_like=True):
    """How far the partition's history has come."""

    serial: int
    sent_at_ms: int
    epoch: str
    """What topics that are not known yet begin with."""

    evicted_ms: int
    """When the last message was sent on a topic that is forgotten; 0 if none is."""


class UserErased(Struct, frozen=True, tag=57, array_like=True):
    """All that was kept of a user up to here is dropped."""

    user_id: str
    serial: int
    """How far the partition had come then."""

    at_ms: int


class NumberReached(Struct, frozen=True, tag=64, array_like=True):
    """The highest number of a process that was carried out."""

    process: str
    number: int


# ---- the presence service's ----------------------------------------------------------------------


class Kept(Struct, frozen=True, tag=70, array_like=True):
    """A message waits in its user's mailbox."""

    delivery: DirectDelivery


class Drained(Struct, frozen=True, tag=71, array_like=True):
    """Messages of a mailbox were handed to a node, or have expired."""

    user_id: str
    message_ids: list[str]


class Announced(Struct, frozen=True, tag=72, array_like=True):
    """Others were told how a user is to be seen."""

    user_id: str
    status: str
    """``offline`` for one who is gone."""

    last_seen_ms: int
    claims: bytes
    set_by_client: bytes


class Revoked(Struct, frozen=True, tag=73, array_like=True):
    """Tokens of a user that were issued before this moment are good no more."""

    user_id: str
    before_ms: int


class LogBatch(Struct, array_like=True):
    """What one reign appends at once."""

    term: int
    records: list[Raw]


class Landmark(Struct, frozen=True, array_like=True):
    """Where a partition stands: kept in a queue of its own beside the log."""

    term: int
    """Of the last reign."""

    checkpoint: str = ""
    """The last whole checkpoint; empty if there is none, and the log is read from its start."""

    place: int = 0
    """Where in the log it begins."""


Record: TypeAlias = (
    ReignBegan
    | CheckpointBegan
    | CheckpointEnded
    | Met
    | Parted
    | Behind
    | CaughtUp
    | Published
    | KeyUsed
    | TopicReached
    | HistoryReached
    | NumberReached
    | Kept
    | Drained
    | Announced
    | UserErased
    | Revoked
)

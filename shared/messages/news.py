"""What everybody concerned is told: leases, ended leases, heartbeats."""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from shared.messages.envelopes import Sender
from shared.messages.version import ENVELOPE_VERSION


class Lease(Struct, tag=40, array_like=True):
    """A node lives; once a second."""

    sender: Sender
    clock_ms: int
    connections: int
    commands: int = 0
    """Messages from clients since its start."""

    deliveries: int = 0
    """Messages written to clients since its start."""

    version: int = ENVELOPE_VERSION
    release: str = ""
    """Of the process that says this; empty before releases said it."""

    p50_ms: float = 0.0
    p99_ms: float = 0.0
    """How long the commands took that were answered in the last second."""

    draining: bool = False
    """It sends its clients to other nodes."""


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

    version: int = ENVELOPE_VERSION
    release: str = ""
    """Of the process that says this; empty before releases said it."""


class TrailAsked(Struct, tag=43, array_like=True):
    """An operator asks every process what it remembers of a message."""

    message_id: str
    report_to: str
    """The queue for the answers."""


Asked: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]


class Usage(Struct, tag=44, array_like=True):
    """A gateway's busy users, and what they ask for of the rate that is theirs (W14)."""

    sender: Sender
    asked: dict[str, Asked]
    """Messages since it said so last, by user."""


News: TypeAlias = Lease | LeaseEnded | Heartbeat | TrailAsked | Usage

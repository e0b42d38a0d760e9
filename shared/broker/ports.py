"""What the services ask of a message broker, and what it promises them.

The words are AMQP's. Every promise here has a test in tests/contract that runs on every broker.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from shared.errors import BrokerUnavailable


class QueueKind(Enum):
    """How a queue lives and who may read it."""

    PARTITION = "partition"
    """Survives everything; one consumer is active, the others stand by."""

    KEPT = "kept"
    """Survives everything."""

    WORK = "work"
    """Survives everything; what has come back too often moves to ``poison``."""

    LOG = "log"
    """Survives everything; is read from any place, and reading takes nothing out."""

    EXCLUSIVE = "exclusive"
    """Belongs to the connection that declared it and goes with it."""

    SHARED = "shared"
    """Goes with its last consumer, and with all that is in it."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a message goes.

    To one queue by its name, to all queues of a fanout exchange, or to those that are bound to a
    direct exchange under a key.
    """

    exchange: str = ""
    queue: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue to declare."""

    name: str
    kind: QueueKind
    max_length: int | None = None
    """Messages it holds; a further one is refused, never silently dropped."""

    fed_by: tuple[str, ...] = ()
    """Fanout exchanges bound to it; made if they are missing."""

    bound_to: tuple[Address, ...] = ()
    """Direct exchanges, each with a key, that it is bound to; made if they are missing."""

    ttl_ms: int | None = None
    """How long a message of a ``KEPT`` queue may wait before it moves to ``dead_letters``."""

    dead_letters: str | None = None
    """The ``KEPT`` queue to which it moves."""

    expires_ms: int | None = None
    """How long a queue without a consumer lives."""

    max_bytes: int | None = None
    """About what a ``LOG`` keeps; beyond that its oldest records go."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message that a consumer was given; it stays the broker's until acknowledged."""

    body: bytes
    tag: int
    redelivered: bool = False
    place: int = 0
    """In a log: grows from record to record, now and then by more than one."""

    reply_to: str = ""
    """The queue that waits for an answer."""

    correlation: str = ""
    """What the answer is to carry, or what it answers."""


Receive = Callable[[Arrived], None]

Start = int | datetime
"""Where to begin in a log: at a place, or at a moment; there some older records may come first."""


class Channel(Protocol):
    """One channel: what it publishes keeps its order; what it left unacknowledged goes back."""

    async def declare(self, queue: Queue) -> None:
        """Make the queue unless it is there.

        Raises:
            BrokerUnavailable: not confirmed in time, or another connection owns the name.
        """

    async def publish(
        self,
        body: bytes,
        to: Address,
        *,
        persistent: bool = False,
        reply_to: str = "",
        correlation: str = "",
    ) -> None:
        """Return once the broker has taken responsibility for the message.

        What has a ``correlation`` is JSON, for programs that are not ours, too.

        Raises:
            Unroutable: there is no such queue, or no queue at the exchange; nothing was kept.
            Refused: the queue is full; nothing was kept.
            BrokerUnavailable: no confirm in time; it may then arrive once or not at all.
        """

    async def consume(self, queue: str, receive: Receive) -> None:
        """Have messages handed to ``receive``, first in first out, at most ``prefetch`` at a time.

        ``receive`` must not block. At a ``PARTITION`` queue nothing comes while another consumer
        is the active one; when that one goes, the next takes over with what it left behind first.

        Raises:
            BrokerUnavailable: not confirmed in time.
        """

    async def cancel(self, queue: str) -> None:
        """Be handed nothing more of a queue; what is not acknowledged stays with this channel.

        Raises:
            BrokerUnavailable: not confirmed in time.
        """

    async def read(self, log: str, start: Start, receive: Receive) -> None:
        """Have the records of a log handed to ``receive``, in order, and those to come.

        At most ``prefetch`` at a time, each to be acknowledged. If the place has gone, reading
        begins with the oldest record that is left.

        Raises:
            BrokerUnavailable: not confirmed in time.
        """

    async def take(self, queue: str) -> Arrived | None:
        """Return the first message of a queue that nobody consumes; None if it is empty.

        Raises:
            BrokerUnavailable: not answered in time.
        """

    async def acknowledge(self, *arrived: Arrived) -> None:
        """Let the broker forget these messages, and only these.

        Raises:
            BrokerUnavailable: the channel is gone; the messages will come again.
        """

    async def close(self) -> None:
        """Give everything unacknowledged back, in order. Never raises."""

    async def lost(self) -> None:
        """Return when this channel is gone, for whatever reason."""


class Connection(Protocol):
    """One connection; its exclusive queues go when it goes."""

    @property
    def is_blocked(self) -> bool:
        """Whether the broker takes nothing just now, for want of memory or disk."""

    async def channel(self, prefetch: int = 8) -> Channel:
        """Open a channel with publisher confirms.

        Raises:
            BrokerUnavailable: not confirmed in time.
        """

    async def close(self) -> None:
        """End it and all its channels. Never raises."""

    async def lost(self) -> None:
        """Return when this connection is gone, for whatever reason."""


class Broker(Protocol):
    """Where connections come from."""

    @property
    def is_connected(self) -> bool:
        """Whether any connection that came from here is open."""

    @property
    def is_blocked(self) -> bool:
        """Whether any of them is blocked."""

    async def connect(self, name: str) -> Connection:
        """Open a plain connection that never re-opens itself; ``name`` is for the operator.

        Raises:
            BrokerUnavailable: it cannot be reached now.
        """


class Losable(Protocol):
    """A connection, a channel, or what lives on one."""

    async def lost(self) -> None:
        """Return when it is gone."""


async def raise_when_lost(wire: Losable) -> None:
    """Wait until a wire is lost.

    Raises:
        BrokerUnavailable: it is.
    """
    await wire.lost()
    raise BrokerUnavailable("A connection or channel was lost")

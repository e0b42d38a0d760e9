"""The queues and logs of the broker in memory."""

import asyncio
import time
from bisect import bisect_left
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from shared.broker.ports import Address, Queue, QueueKind, Receive, Start
from shared.broker.queue_arguments import DELIVERY_LIMIT
from shared.broker.topology import POISON
from shared.errors import Refused, Unroutable

RETRY_SECONDS = 1.0
"""How long a message waits that its dead letter queue did not take."""


@dataclass(slots=True)
class Message:
    """A message in a queue, or a record of a log."""

    body: bytes
    place: int  # what comes back to a queue returns there
    at: float  # when it was published, by the clock of the queue or log
    reply_to: str = ""
    correlation: str = ""
    returns: int = 0  # how often it has come back


class Home(Protocol):
    """The broker of a queue."""

    def route(self, body: bytes, to: Address) -> None:
        """Put a message on every queue that it is for."""

    def remove(self, queue: "MemoryQueue") -> None:
        """Drop a queue with all that is in it."""


class Holder(Protocol):
    """The channel of a consumer."""

    prefetch: int

    @property
    def is_gone(self) -> bool:
        """Whether it can do nothing any more."""

    def give(self, consumer: "Consumer", message: Message) -> None:
        """Hand one message over, after the present step of the loop."""


@dataclass(slots=True, eq=False)
class Consumer:
    """Who gets the messages of a queue, or reads a log."""

    channel: Holder
    queue: "MemoryQueue"
    receive: Receive
    holds: int = 0
    next_place: int = 0  # in a log

    @property
    def has_room(self) -> bool:
        """Whether it may be given one more."""
        return not self.channel.is_gone and self.holds < self.channel.prefetch


class MemoryQueue:
    """Messages that wait for consumers, first in first out."""

    def __init__(self, home: Home, spec: Queue, owner: object) -> None:
        self.spec = spec
        self.owner = owner
        self._home = home
        self._messages: deque[Message] = deque()
        self._consumers: list[Consumer] = []
        self._places = count()
        self._is_removed = False
        self._moving: asyncio.TimerHandle | None = None
        self._expiring: asyncio.TimerHandle | None = None

    @property
    def is_full(self) -> bool:
        """Whether it refuses a further message."""
        return self.spec.max_length is not None and len(self._messages) >= self.spec.max_length

    def put(self, body: bytes, *, reply_to: str = "", correlation: str = "") -> None:
        """Add a message."""
        at = asyncio.get_running_loop().time()
        self._messages.append(Message(body, next(self._places), at, reply_to, correlation))
        self.pump()
        if self._moving is None:
            self._move_overdue()

    def join(self, consumer: Consumer) -> None:
        """Serve one more consumer."""
        self._consumers.append(consumer)
        self.use()
        self.pump()

    def leave(self, consumer: Consumer) -> None:
        """Serve this one no more."""
        self._consumers.remove(consumer)
        self.use()
        if self.spec.kind is QueueKind.SHARED and not self._consumers:
            self._remove()

    def pop(self) -> Message | None:
        """Take the first message out."""
        self.use()
        return self._messages.popleft() if self._messages else None

    def put_back(self, left: list[Message]) -> None:
        """Take messages back that were not acknowledged, each to its place."""
        if self._is_removed:
            return
        for message in left:
            message.returns += 1
        left = [message for message in left if not self._is_put_aside(message)]
        self._messages = deque(sorted([*left, *self._messages], key=lambda message: message.place))
        self._move_overdue()

    def _is_put_aside(self, message: Message) -> bool:
        """Move a message that has come back too often; nobody may take it, and it is gone."""
        if self.spec.kind is not QueueKind.WORK or message.returns <= DELIVERY_LIMIT:
            return False
        with suppress(Unroutable, Refused):
            self._home.route(message.body, Address(queue=POISON.name))
        return True

    def pump(self) -> None:
        """Hand out what is there while somebody has room for it."""
        while self._messages and (consumer := self._next_consumer()):
            consumer.channel.give(consumer, self._messages.popleft())

    def use(self) -> None:
        """Note that somebody has had to do with this queue: from now on its expiry counts."""
        if self._expiring is not None:
            self._expiring.cancel()
            self._expiring = None
        if self.spec.expires_ms is not None and not self._consumers:
            loop = asyncio.get_running_loop()
            self._expiring = loop.call_later(self.spec.expires_ms / 1000, self._remove)

    def _next_consumer(self) -> Consumer | None:
        if self.spec.kind is QueueKind.PARTITION:
            active = self._consumers[0] if self._consumers else None
            return active if active and active.has_room else None
        for consumer in self._consumers:
            if consumer.has_room:
                self._consumers.remove(consumer)  # whoever was served goes to the end of the line
                self._consumers.append(consumer)
                return consumer
        return None

    def _move_overdue(self) -> None:
        """Move what has waited too long to the dead letters, and come back for the next."""
        if self.spec.ttl_ms is None or self.spec.dead_letters is None:
            return
        if self._moving is not None:
            self._moving.cancel()
            self._moving = None
        loop, to, earliest = asyncio.get_running_loop(), Address(queue=self.spec.dead_letters), 0.0
        while self._messages:
            due = self._messages[0].at + self.spec.ttl_ms / 1000
            if max(due, earliest) > loop.time():
                self._moving = loop.call_at(max(due, earliest), self._move_overdue)
                return
            try:
                self._home.route(self._messages[0].body, to)
            except (Unroutable, Refused):
                earliest = loop.time() + RETRY_SECONDS
            else:
                self._messages.popleft()

    def _remove(self) -> None:
        self._is_removed = True
        self._messages.clear()
        self._home.remove(self)


class MemoryLog(MemoryQueue):
    """Records that any number of readers follow, each with a place of its own."""

    _bytes = 0

    def put(self, body: bytes, **_: str) -> None:
        """Append a record; the oldest go as far as the newest ``max_bytes`` are kept."""
        self._messages.append(Message(body, next(self._places), time.time()))
        self._bytes += len(body)
        most = self.spec.max_bytes
        while most is not None and self._bytes - len(self._messages[0].body) >= most:
            self._bytes -= len(self._messages.popleft().body)
        self.pump()

    def read(self, reader: Consumer, start: Start) -> None:
        """Serve one more reader, from a place or a moment on."""
        if isinstance(start, int):
            reader.next_place = start
        else:
            moment = start.timestamp()
            later = bisect_left(self._messages, moment, key=lambda record: record.at)
            reader.next_place = self._oldest + later
        self.join(reader)

    def put_back(self, left: list[Message]) -> None:
        """Do nothing: reading took nothing out."""

    def pump(self) -> None:
        """Hand every reader what comes next for it while it has room."""
        for reader in self._consumers:
            while reader.has_room and (record := self._at(reader.next_place)):
                reader.next_place = record.place + 1
                reader.channel.give(reader, record)

    @property
    def _oldest(self) -> int:
        return self._messages[0].place if self._messages else 0

    def _at(self, place: int) -> Message | None:
        index = max(place - self._oldest, 0)
        return self._messages[index] if index < len(self._messages) else None

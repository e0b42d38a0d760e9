"""A partition's log: its owner appends to it, and whoever owns the partition next reads it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from msgspec import Raw
from ulid import ULID

from shared.broker import topology
from shared.broker.batching import chunks
from shared.broker.ports import Arrived, Channel, Connection, Start
from shared.errors import BrokerUnavailable
from shared.messages import codec
from shared.messages.records import (
    CheckpointBegan,
    CheckpointEnded,
    Landmark,
    LogBatch,
    Record,
    ReignBegan,
)
from shared.ownership.landmark import move_landmark

log = structlog.get_logger()

READ_AHEAD = 200
READ_SECONDS = 5.0
WINDOW_BYTES = 1_048_576
"""What of a checkpoint waits for its confirm at the same time."""

CHECKPOINT_BYTES = topology.LOG_BYTES // 8
"""What is appended between two checkpoints at most: the log never loses its last one."""

Replay = Callable[[Record], None]


class Unreadable(BrokerUnavailable):
    """The log does not hold what its landmark says; only the operator can help."""


class TermTaken(BrokerUnavailable):
    """The landmark was lost: an earlier reign had this term, or a higher one."""

    def __init__(self, term: int) -> None:
        super().__init__(term=term)
        self.term = term


@dataclass(frozen=True, slots=True)
class Read:
    """One batch as it was found in the log."""

    place: int
    size: int
    term: int
    records: list[Record]

    @property
    def only_begins(self) -> bool:
        """Whether it holds no more than that a reign began."""
        return all(isinstance(one, ReignBegan) for one in self.records)


class Log:
    """The log of one partition during one reign, whose ``channel`` alone appends."""

    def __init__(
        self, connection: Connection, channel: Channel, service: str, partition: int
    ) -> None:
        self.identity = ""
        """ULID of the log's first reign."""

        self.read_whole = False
        """Whether every record there is was replayed, not only those since a checkpoint."""

        self.term = 0
        self._connection = connection
        self._channel = channel
        self._queue = topology.log(service, partition)
        self._landmarks = topology.terms(service, partition)
        self._began = ""
        self._next_place = 0
        self._appended = 0

    @property
    def wants_checkpoint(self) -> bool:
        """Whether so much was appended since the last one that the log should not wait."""
        return self._appended >= CHECKPOINT_BYTES

    @property
    def has_grown(self) -> bool:
        """Whether anything was appended since the last checkpoint."""
        return self._appended > 0

    async def prepare(self) -> None:
        """Make the log, and return if it can be read from here.

        Of several RabbitMQ nodes only those let it be read on which a copy of it runs.

        Raises:
            BrokerUnavailable: it cannot.
        """
        await self._channel.declare(self._queue)
        probe = await self._connection.channel(1)
        try:
            await probe.read(self._queue.name, datetime.now(UTC), lambda _: None)
        finally:
            await probe.close()

    async def begin(self, heard: int, replay: Replay) -> None:
        """Open a reign with a term above ``heard``, and replay what came before it.

        Raises:
            BrokerUnavailable: the reign is over before it began.
        """
        await self._channel.declare(self._landmarks)
        await self._channel.declare(self._queue)
        landmark = await move_landmark(
            self._channel,
            self._landmarks,
            lambda last: Landmark(max(last.term, heard) + 1, last.checkpoint, last.place),
        )
        self.term = landmark.term
        self._began = str(ULID())
        await self.append([codec.encode(ReignBegan(self._began))])
        await self._replay(landmark, replay)

    def append(self, records: Iterable[bytes]) -> "asyncio.Future[list[None]]":
        """Append records, before anything that is published from now on.

        The future is done once the broker has them; with BrokerUnavailable the reign is over, and
        they may be there or not.
        """
        batches = [
            codec.encode(LogBatch(self.term, [Raw(record) for record in chunk]))
            for chunk in chunks(records)
        ]
        self._next_place += len(batches)
        self._appended += sum(map(len, batches))
        to = topology.queue_address(self._queue)
        return asyncio.gather(
            *(self._channel.publish(batch, to, persistent=True) for batch in batches)
        )

    async def checkpoint(self, state: Iterable[bytes]) -> None:
        """Append records that rebuild the whole state, so that none before them need be read.

        Raises:
            BrokerUnavailable: the reign is over; the last checkpoint still counts.
        """
        began = CheckpointBegan(str(ULID()), self.identity)
        earliest = self._next_place
        await self.append([codec.encode(began)])
        for window in _windows(state):
            await self.append(window)
        await self.append([codec.encode(CheckpointEnded(began.checkpoint))])
        place = await self._find(began, earliest)

        def moved(last: Landmark) -> Landmark:
            if last.term > self.term:  # the next owner has begun, and has not read this
                raise BrokerUnavailable("Another replica has a higher term", term=last.term)
            return Landmark(self.term, began.checkpoint, place)

        await move_landmark(self._channel, self._landmarks, moved)
        self._appended = 0

    async def older(self, start: Start, replay: Replay) -> None:
        """Replay what was appended from a moment on until this reign began.

        Raises:
            BrokerUnavailable: the log could not be read.
        """
        async with aclosing(self._read(start)) as batches:
            async for batch in _undeposed(batches, self.term):
                for record in batch.records:
                    if record == ReignBegan(self._began):
                        return
                    replay(record)

    async def _replay(self, landmark: Landmark, replay: Replay) -> None:
        """Replay from the last checkpoint on, or from the start of the log if there is none."""
        first = True
        async with aclosing(self._read(landmark.place)) as batches:
            async for batch in _undeposed(batches, self.term):
                if first:
                    self._recognise(batch, landmark)
                    first = False
                if ReignBegan(self._began) in batch.records:
                    self._next_place = batch.place + 1
                    return
                if batch.term >= self.term:
                    raise TermTaken(batch.term)
                self._appended += batch.size
                for record in batch.records:
                    replay(record)

    def _recognise(self, first: Read, landmark: Landmark) -> None:
        """Make sure that nothing is missing: reading a truncated log gives no error."""
        match first.records[:1]:
            case [CheckpointBegan() as began] if began.checkpoint == landmark.checkpoint:
                self.identity = began.log
            case [ReignBegan() as began] if first.place == 0 and not landmark.checkpoint:
                self.identity = began.reign
                self.read_whole = True
            case other:
                name = self._queue.name
                log.error("the log has lost its beginning", log=name, action="refuse", found=other)
                raise Unreadable("The log has lost its beginning", log=name)

    async def _find(self, began: CheckpointBegan, earliest: int) -> int:
        """Return where in the log a checkpoint begins; places may be skipped."""
        async with aclosing(self._read(earliest)) as batches:
            async for batch in batches:
                if began in batch.records:
                    return batch.place
        raise BrokerUnavailable("The log could not be read")

    async def _read(self, start: Start) -> AsyncGenerator[Read, None]:
        channel = await self._connection.channel(READ_AHEAD)
        arrivals: asyncio.Queue[Arrived] = asyncio.Queue()
        try:
            await channel.read(self._queue.name, start, arrivals.put_nowait)
            while True:
                async with asyncio.timeout(READ_SECONDS):
                    arrived = await arrivals.get()
                yield _decoded(arrived)
                await channel.acknowledge(arrived)
        except TimeoutError as error:
            log.warning("the log is silent", log=self._queue.name, action="retry")
            raise BrokerUnavailable("The log could not be read in time") from error
        finally:
            await channel.close()


async def _undeposed(
    batches: AsyncGenerator[Read, None], reader: int
) -> AsyncGenerator[Read, None]:
    """Leave out what an owner wrote that had been deposed and did not know it yet.

    Who has begun a reign and written nothing in it deposes nobody: it may have failed, and the one
    before it serves on. So what a lower term writes then is held until the higher one writes, or
    until the ``reader``, whose own reign began last, knows that it has not.
    """
    writer = 0
    held: list[Read] = []
    found: dict[int, list[Read]] = {}
    """What was held when a reign began in which nothing has been written yet: it has read that."""

    async for batch in batches:
        if batch.term < writer:
            continue
        if batch.only_begins:
            if batch.term == reader:
                for one in held:
                    yield one
            found[batch.term] = list(held)
            yield batch
            continue
        writer, held = batch.term, [*found.pop(batch.term, held), batch]
        if max(found, default=0) < writer:
            for one in held:
                yield one
            held, found = [], {}


def _windows(records: Iterable[bytes]) -> Iterator[list[bytes]]:
    window: list[bytes] = []
    size = 0
    for record in records:
        window.append(record)
        size += len(record)
        if size >= WINDOW_BYTES:
            yield window
            window, size = [], 0
    yield window


def _decoded(arrived: Arrived) -> Read:
    try:
        batch = codec.decode(arrived.body, codec.LOG_BATCH)
        records = [codec.decode(bytes(one), codec.RECORD) for one in batch.records]
    except codec.Undecodable:
        log.exception("bad record", action="ignore", place=arrived.place)
        return Read(arrived.place, len(arrived.body), 0, [])
    return Read(arrived.place, len(arrived.body), batch.term, records)

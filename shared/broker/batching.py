"""Many envelopes to one message: nearly all of a message's cost is per message.

A batch is what gathered while the previous one waited for its confirm; the first goes at once.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Raw

from shared.broker.ports import Address, Channel
from shared.errors import BrokerUnavailable, Refused, Unroutable
from shared.messages import codec
from shared.messages.envelopes import CommandBatch, Numbered, Sender
from shared.together import together

BATCH_ENVELOPES = 100
BATCH_BYTES = 65_536
LINE_BYTES = 16_777_216
"""What may wait in all lines of a process, with what is in flight: of that there are copies."""

ENVELOPE_BYTES = 1_000
"""What each takes besides what it says: the number, and whoever waits for its confirm."""

MOST_UNNUMBERED = 100_000

RETRY_SECONDS = 0.25


def chunks(envelopes: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Split envelopes, in order, into batches within both bounds; a larger one goes alone."""
    chunk: list[bytes] = []
    size = 0
    for envelope in envelopes:
        if chunk and (len(chunk) == BATCH_ENVELOPES or size + len(envelope) > BATCH_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(envelope)
        size += len(envelope)
    if chunk:
        yield chunk


class Life(Protocol):
    """What a sender needs of its present connection to the broker."""

    @property
    def sender(self) -> Sender:
        """Who speaks."""

    @property
    def answers(self) -> str:
        """The queue on which it waits for answers."""

    @property
    def publisher(self) -> Channel:
        """The channel to publish on."""


@dataclass(eq=False)
class Submission:
    """An envelope on its way to a partition."""

    envelope: bytes
    fact: bool
    number: int | None = None
    confirmed: "asyncio.Future[None]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def settle(self, error: Exception | None = None) -> None:
        """Tell whoever waits; nobody need wait."""
        self.envelope = b""  # whoever remembers the submission needs only its number
        if self.confirmed.done():
            return
        if error is None:
            self.confirmed.set_result(None)
        else:
            self.confirmed.set_exception(error)
            self.confirmed.exception()  # nobody need look at it


class Room:
    """What waits in all lines that share it, in bytes."""

    def __init__(self) -> None:
        self.taken = 0

    def is_taken(self, share: float = 1) -> bool:
        """Whether so much of it is."""
        return self.taken >= share * LINE_BYTES


class PartitionLink:
    """The numbered way to one partition: one batch in flight, sent again until it is confirmed.

    The owner recognises a repeat by its number, so sending again is always safe. ``room`` is for
    all links together, and ``count_batch`` is told how many envelopes each batch has.
    """

    def __init__(
        self,
        address: Address,
        limit: int = 10_000,
        *,
        room: Room | None = None,
        count_batch: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._address = address
        self._limit = limit
        self._count_batch = count_batch
        self._waiting: deque[Submission] = deque()
        self._room = room or Room()
        self._some = asyncio.Event()
        self._last_number = 0
        self._tells = False

    @property
    def waiting(self) -> int:
        """How many envelopes are in line, those in flight not counted."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether commands are refused until batches have left. Facts never are."""
        return self._is_taken(1)

    def _is_taken(self, share: float) -> bool:
        """Whether so much of the line is taken by number, or of the room by bytes."""
        return len(self._waiting) >= share * self._limit or self._room.is_taken(share)

    def submit(
        self, envelope: bytes, *, number: int | None = None, low: bool = False
    ) -> Submission:
        """Put a command in line; ``number`` sends it again under its old one.

        One of ``low`` priority leaves half of the line to the others (X3).

        Raises:
            BrokerUnavailable: too many wait already; nothing was sent.
        """
        if self._is_taken(0.5 if low else 1):
            raise BrokerUnavailable("Too many commands wait for the broker")
        return self._put(Submission(envelope, fact=False, number=number))

    def tell(self, fact: bytes) -> Submission:
        """Put a fact in line. It is never refused, for it takes back or follows what was taken.

        Between two lives it is dropped at once: the next one reports everything.
        """
        submission = Submission(fact, fact=True)
        if not self._tells:
            submission.settle(BrokerUnavailable())
            return submission
        return self._put(submission)

    def insist(self, command: bytes) -> Submission:
        """Put a command in line that nobody could answer for if it were refused."""
        return self._put(Submission(command, fact=False))

    def _put(self, submission: Submission) -> Submission:
        self._waiting.append(submission)
        self._room.taken += len(submission.envelope) + ENVELOPE_BYTES
        self._some.set()
        return submission

    def _settle(self, submission: Submission, error: Exception | None = None) -> None:
        self._room.taken -= len(submission.envelope) + ENVELOPE_BYTES
        submission.settle(error)

    def pause_facts(self) -> None:
        """Drop the facts that have not left, and those to come: the life is over."""
        self._tells = False
        for submission in self._waiting:
            if submission.fact:
                self._settle(submission, BrokerUnavailable())
        self._waiting = deque(one for one in self._waiting if not one.fact)

    def resume_facts(self) -> None:
        """Take facts again: a new life begins, and reports everything first."""
        self._tells = True

    async def run(self, life: Callable[[], Awaitable[Life]]) -> None:
        """Send what is submitted, for ever; ``life`` waits for the present connection."""
        while True:
            await self._some.wait()
            sender = (await life()).sender
            if not (batch := self._next_batch()):
                continue  # the facts that were in line have been discarded
            self._count_batch(len(batch))
            items = [Numbered(one.number or 0, Raw(one.envelope)) for one in batch]
            while not await self._sent(await life(), sender, items):  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(RETRY_SECONDS)
            for submission in batch:
                self._settle(submission)

    def _next_batch(self) -> list[Submission]:
        batch: list[Submission] = []
        size = 0
        while self._waiting and len(batch) < BATCH_ENVELOPES:
            size += len(self._waiting[0].envelope)
            if batch and size > BATCH_BYTES:
                break
            submission = self._waiting.popleft()
            if submission.number is None:
                self._last_number += 1
                submission.number = self._last_number
            batch.append(submission)
        if not self._waiting:
            self._some.clear()
        return batch

    async def _sent(self, life: Life, sender: Sender, items: list[Numbered]) -> bool:
        body = codec.encode(CommandBatch(sender, life.answers, items))
        try:
            await life.publisher.publish(body, self._address, persistent=True)
        except BrokerUnavailable:
            return False
        return True


class Packer:
    """The un-numbered way to many queues: one round at a time, dropped by whoever refuses."""

    def __init__(self, dropped: Callable[[int], None]) -> None:
        self._dropped = dropped
        self._waiting: dict[str, list[bytes]] = defaultdict(list)
        self._added = 0
        self._awaited: list[asyncio.Future[None]] = []
        self._some = asyncio.Event()

    def add(self, queue: str, envelope: bytes) -> None:
        """Put an envelope in line for a queue; it is dropped if too many wait."""
        if self._added == MOST_UNNUMBERED:
            self._dropped(1)
            return
        self._added += 1
        self._waiting[queue].append(envelope)
        self._some.set()

    async def send(self, envelopes: Mapping[str, list[bytes]]) -> None:
        """Put envelopes in line, by queue; return once the broker has all that is not refused.

        Raises:
            BrokerUnavailable: it has not taken them in time.
        """
        for queue, some in envelopes.items():
            self._waiting[queue] += some
        sent = asyncio.get_running_loop().create_future()
        self._awaited.append(sent)
        self._some.set()
        await sent

    async def run(self, channel: Channel) -> None:
        """Send what is added, until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            waiting, self._waiting, self._added = self._waiting, defaultdict(list), 0
            awaited, self._awaited = self._awaited, []
            failures = await together(
                [
                    self._send(channel, Address(queue=queue), chunk)
                    for queue, envelopes in waiting.items()
                    for chunk in chunks(envelopes)
                ]
            )
            _settle(awaited, next(filter(None, failures), None))

    async def _send(
        self, channel: Channel, to: Address, chunk: list[bytes]
    ) -> BrokerUnavailable | None:
        """Send a batch; return what has failed, a refusal not counted."""
        try:
            await channel.publish(codec.join(chunk), to)
        except BrokerUnavailable as error:
            self._dropped(len(chunk))
            return None if isinstance(error, Unroutable | Refused) else error
        return None


def _settle(awaited: "list[asyncio.Future[None]]", failure: BrokerUnavailable | None) -> None:
    for one in awaited:
        if one.done():
            continue  # whoever waited has been cancelled
        if failure is None:
            one.set_result(None)
        else:
            one.set_exception(failure)

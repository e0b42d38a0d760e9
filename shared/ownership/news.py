"""What a replica hears of nodes and of other replicas, and what it says of itself."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog
from ulid import ULID

from shared.broker import topology
from shared.broker.batching import Packer
from shared.broker.ports import Arrived, Channel
from shared.cancellation import heed_cancellation
from shared.clock import wall_clock_ms
from shared.errors import BrokerUnavailable
from shared.messages import codec
from shared.messages.envelopes import Sender
from shared.messages.news import Heartbeat, Lease, LeaseEnded, TrailAsked
from shared.messages.news import News as AnyNews
from shared.ownership.leases import Change, Leases
from shared.ownership.peers import Peers
from shared.release import RELEASE
from shared.telling import tell
from shared.trail import Trail

log = structlog.get_logger()

HEARTBEAT_SECONDS = 1.0


class Place(NamedTuple):
    """What a replica says of itself; see ``Heartbeat``."""

    terms: dict[int, int]
    standing_by: list[int]
    node_id: str
    performed: int


class News:
    """One life of a replica's place among the others, on a channel of its own.

    ``place`` says what the replica does now; ``apply`` is told of each life that is over;
    ``beat_returned`` is called once a second while the broker passes on what is said.
    """

    def __init__(
        self,
        channel: Channel,
        service: str,
        process: str,
        trail: Trail,
        *,
        place: Callable[[], Place],
        apply: Callable[[Change], None],
        beat_returned: Callable[[], None],
    ) -> None:
        self.leases = Leases()
        self.peers = Peers(service, process)
        self.answers = Packer(dropped=lambda _: None)
        """Goes out while ``answer`` runs; whoever is gone waits no longer."""

        self._channel = channel
        self._service = service
        self._process = process
        self._trail = trail
        self._place = place
        self._apply = apply
        self._beat_returned = beat_returned
        self._ahead_ms = 0
        self._beat_number = 0
        self._last_returned = 0
        self._echo_at = float("-inf")

    @property
    def fresh(self) -> bool:
        """Whether one's own heartbeat comes back."""
        return time.monotonic() - self._echo_at < 5 * HEARTBEAT_SECONDS

    def now_ms(self) -> int:
        """Return the time to stamp with: as far ahead of this clock as any heard of was."""
        return wall_clock_ms() + self._ahead_ms

    def _hear_clock(self, clock_ms: int) -> None:
        self._ahead_ms = max(self._ahead_ms, clock_ms - wall_clock_ms())

    async def beat(self) -> None:
        """Say once a second that this replica lives."""
        while True:
            self._beat_number += 1
            try:
                await self.say_place()
            except BrokerUnavailable as error:  # blocked, perhaps; a loss is seen elsewhere
                heed_cancellation()
                log.warning("no heartbeat", action="beat", error=str(error))
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def say_place(self) -> None:
        """Say which partitions this replica serves, and for which it stands by."""
        beat, now_ms = self._beat_number, wall_clock_ms()
        place = self._place()
        await self._say(
            Heartbeat(self._service, self._process, beat, now_ms, *place, release=RELEASE)
        )

    async def listen(self) -> None:
        """Hear what is said, for ever.

        Raises:
            BrokerUnavailable: the channel is gone.
        """
        heard: asyncio.Queue[Arrived] = asyncio.Queue()
        name = f"{self._process}.{ULID()}"  # an old name stays locked for a while
        queue = topology.news(
            name, topology.FROM_GATEWAYS, topology.FROM_SERVICES, topology.QUESTIONS
        )
        await self._channel.declare(queue)
        await self._channel.consume(queue.name, heard.put_nowait)
        while True:
            arrived = await heard.get()
            try:
                news = codec.decode(arrived.body, codec.NEWS)
            except codec.Undecodable as error:
                log.warning("bad news", action="ignore", error=str(error))
            else:
                await self._heed(news)
            await self._channel.acknowledge(arrived)

    async def answer(self) -> None:
        """Send what is answered, for ever."""
        await self.answers.run(self._channel)

    async def lost(self) -> None:
        """Return when nothing can be heard any more."""
        await self._channel.lost()

    def heard(self, sender: Sender) -> None:
        """Note that a node spoke through a partition's queue."""
        self._apply(self.leases.renewed(sender))

    def told(self, sender: Sender) -> bool:
        """Hear from the log that a node lives; return whether that can still be."""
        if self.leases.alive.get(sender.node_id) == sender:
            return True
        change = self.leases.renewed(sender)
        self._apply(change)
        return change.refused is None

    async def _heed(self, news: AnyNews) -> None:
        match news:
            case Lease():
                self._hear_clock(news.clock_ms)
                change = self.leases.renewed(news.sender)
                if change.refused is not None:
                    told = LeaseEnded(change.refused, clean=False, superseded=change.superseded)
                    await self._say(told)
                elif news.draining:
                    self.leases.draining.add(news.sender)
            case LeaseEnded():
                change = self.leases.ended(news.sender, clean=news.clean)
            case Heartbeat(replica=self._process):
                self._echo_at = time.monotonic()
                change = self._own_beat_returned(news.beat)
                for gone in change.ended:
                    log.warning("lease ran out", action="expire", gateway=gone.node_id)
                    await self._say(LeaseEnded(gone, clean=False))
            case Heartbeat():
                self._hear_clock(news.clock_ms)
                self.peers.heard(news)
                return
            case TrailAsked():
                tell(news, self._trail, self.answers)
                return
        self._apply(change)

    def _own_beat_returned(self, beat: int) -> Change:
        change = self.leases.beat_returned(beat)
        if beat != self._last_returned:
            self._last_returned = beat
            self.peers.beat_returned()
            self._beat_returned()
        return change

    async def _say(self, news: Heartbeat | LeaseEnded) -> None:
        to = topology.fanout_address(topology.FROM_SERVICES)
        await self._channel.publish(codec.encode(news), to)

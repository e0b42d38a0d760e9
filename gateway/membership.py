"""This node's place in the cluster: its boot, its queues, its lease.

A boot ends when either connection or the lease is lost. Then both connections are closed and
everything begins anew under new names, and all that the node knows is reported again.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import structlog
from ulid import ULID

from gateway.connection import Connection
from gateway.core.connections import Connections
from gateway.core.limits import UserShares
from gateway.core.subscriptions import Subscriptions
from gateway.downlink import Downlink
from gateway.metrics import Metrics
from gateway.uplink import Uplink
from gateway.usage import tell_usage
from shared.broker import topology
from shared.broker.batching import Packer
from shared.broker.ports import Arrived, Broker, Channel, Queue, raise_when_lost
from shared.broker.ports import Connection as BrokerConnection
from shared.cancellation import heed_cancellation
from shared.clock import wall_clock_ms
from shared.errors import BrokerUnavailable, ServiceError, Unroutable
from shared.messages import codec
from shared.messages.envelopes import Sender
from shared.messages.news import Heartbeat, Lease, LeaseEnded, TrailAsked, Usage
from shared.release import RELEASE
from shared.telling import tell
from shared.together import all_there
from shared.trail import Trail

log = structlog.get_logger()

LEASE_SECONDS = 1.0
FIRST_HAND_BACK_SECONDS = 2.0
HAND_BACK_SECONDS = 4.0
QUIET_SECONDS = 0.5
"""In this time every owner has heard that the node is leaving."""

POLL_SECONDS = 0.05
RETRY_SECONDS = 0.5
PREFETCH = 100
HEARD = (topology.FROM_SERVICES, topology.AMONG_GATEWAYS, topology.QUESTIONS)
DIRECT_PREFETCH = 2000
"""More, for clients may take their time to confirm what they have."""


class Superseded(ServiceError):
    """A younger process has taken this node's id; this one must stop."""


@dataclass
class Boot:
    """One life of this process's connections."""

    sender: Sender
    answers: str
    connection: BrokerConnection
    publisher: Channel
    consume: BrokerConnection


class Membership:
    """Keeps this node a member of the cluster."""

    def __init__(
        self,
        broker: Broker,
        node_id: str,
        uplink: Uplink,
        downlink: Downlink,
        packer: Packer,
        metrics: Metrics,
        subscriptions: Subscriptions[Connection],
        connections: Connections[Connection],
        trail: Trail,
        users: UserShares | None,
    ) -> None:
        self.node_id = node_id
        self.process = str(ULID())
        self._broker = broker
        self._uplink = uplink
        self._downlink = downlink
        self._packer = packer
        self._metrics = metrics
        self._subscriptions = subscriptions
        self._connections = connections
        self._trail = trail
        self._users = users
        self._boot: Boot | None = None
        self.draining = False
        """Whether its clients are being sent to other nodes; the lease tells."""

        self._leaving = False
        self._booted = asyncio.Event()
        self._ready = asyncio.Event()
        self._terms: dict[tuple[str, int], int] = {}

    @property
    def ready(self) -> bool:
        """Whether it consumes its queues and everything it knows has been reported."""
        blocked = self._boot is not None and self._boot.connection.is_blocked
        return self._ready.is_set() and not self._leaving and not blocked

    def require_ready(self) -> None:
        """Check that commands can be taken.

        Raises:
            BrokerUnavailable: not now.
        """
        if not self.ready:
            raise BrokerUnavailable("This node is not connected to the cluster just now")

    async def wait_ready(self) -> None:
        """Wait until commands can be taken."""
        await self._ready.wait()

    async def life(self) -> Boot:
        """Wait for the present boot."""
        while self._boot is None:
            await self._booted.wait()
        return self._boot

    async def run(self) -> None:
        """Be a member for ever.

        Raises:
            Superseded: another process has this node's id.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._uplink.run(self.life))
            while True:
                try:
                    await asyncio.create_task(self._live())
                except BrokerUnavailable as error:
                    heed_cancellation()
                    log.warning("boot over", action="reconnect", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _live(self) -> None:
        publish = await self._broker.connect(f"gateway {self.node_id} publish")
        try:
            consume = await self._broker.connect(f"gateway {self.node_id} consume")
            try:
                await self._live_on(publish, consume)
            finally:
                self._uplink.pause_facts()
                self._ready.clear()
                self._booted.clear()
                self._boot = None
                await consume.close()
        finally:
            await publish.close()

    async def _live_on(self, publish: BrokerConnection, consume: BrokerConnection) -> None:
        boot = str(ULID())
        publisher = await publish.channel()
        inbox = topology.inbox(self.node_id, boot)
        direct = topology.direct(self.node_id, self.process)
        answers = topology.answers(self.node_id, boot)
        news = topology.news(f"{self.process}.{boot}", *HEARD)
        try:
            async with asyncio.TaskGroup() as group:
                for wire in (publish, consume, publisher):
                    group.create_task(raise_when_lost(wire))
                for queue, perform in (
                    (inbox, lambda one: self._downlink.inbox(one.body)),
                    (answers, self._downlink.answer),
                    (news, lambda one: self._hear(one.body)),
                ):
                    channel, arrivals = await _consume(consume, queue, PREFETCH)
                    group.create_task(raise_when_lost(channel))
                    group.create_task(_perform_all(channel, arrivals, perform))
                await publisher.declare(topology.UNDELIVERED)  # first: nobody else may have yet
                channel, arrivals = await _consume(consume, direct, DIRECT_PREFETCH)
                group.create_task(raise_when_lost(channel))
                group.create_task(_hand_over_all(channel, arrivals, self._downlink.direct))
                group.create_task(self._packer.run(publisher))
                sender = Sender(self.node_id, self.process, boot)
                self._begin(life := Boot(sender, answers.name, publish, publisher, consume))
                group.create_task(self._report_everything())
                group.create_task(self._renew_lease(life))
                if self._users is not None:
                    group.create_task(tell_usage(self._users, sender, publisher))
        except* BrokerUnavailable as errors:
            raise BrokerUnavailable(str(errors.exceptions[0])) from errors

    def _begin(self, boot: Boot) -> None:
        self._uplink.resume_facts()
        self._terms.clear()
        self._boot = boot
        self._booted.set()

    async def _report_everything(self) -> None:
        reported = self._uplink.report_all(self._subscriptions, self._connections)
        self._downlink.begin()
        await asyncio.gather(*(one.confirmed for one in reported))
        self._ready.set()
        log.info("ready", action="report", patterns=len(self._subscriptions))

    async def _renew_lease(self, boot: Boot) -> None:
        to = topology.fanout_address(topology.FROM_GATEWAYS)
        while not self._leaving:
            counts = (len(self._connections), self._metrics.heard, self._metrics.written)
            p50_ms, p99_ms = self._metrics.latency.percentiles_ms(time.monotonic())
            lease = Lease(
                boot.sender,
                wall_clock_ms(),
                *counts,
                release=RELEASE,
                p50_ms=p50_ms,
                p99_ms=p99_ms,
                draining=self.draining,
            )
            try:
                await boot.publisher.publish(codec.encode(lease), to)
            except Unroutable:
                log.info("no replica listens yet", action="lease")
            except BrokerUnavailable as error:  # blocked, perhaps; a loss is seen elsewhere
                heed_cancellation()
                log.warning("lease not renewed", action="lease", error=str(error))
            self._downlink.go_on()
            await asyncio.sleep(LEASE_SECONDS)

    async def leave(self) -> None:
        """Say that this node is going, so that nobody waits for its lease to run out.

        First it hands back what it has: after the goodbye nobody waits for that any more (R1).
        """
        if self._boot is not None:
            await self._hand_back(FIRST_HAND_BACK_SECONDS)
        self._leaving = True
        if self._boot is None:
            return
        news = codec.encode(LeaseEnded(self._boot.sender, clean=True))
        try:
            await self._boot.publisher.publish(
                news, topology.fanout_address(topology.FROM_GATEWAYS)
            )
        except BrokerUnavailable as error:
            log.warning("could not say goodbye", action="leave", error=str(error))
        await self._hand_back(HAND_BACK_SECONDS)

    async def _hand_back(self, seconds: float) -> None:
        """Go on handing direct messages back until none comes any more, or for too long."""
        quiet = 0.0
        for _ in range(int(seconds / POLL_SECONDS)):
            await asyncio.sleep(POLL_SECONDS)
            quiet = 0.0 if self._downlink.open_parcels else quiet + POLL_SECONDS
            if quiet >= QUIET_SECONDS:
                return

    # ---- news ------------------------------------------------------------------------------------

    def _hear(self, body: bytes) -> None:
        try:
            news = codec.decode(body, codec.NEWS)
        except codec.Undecodable as error:
            log.warning("bad news", action="ignore", error=str(error))
            return
        match news:
            case LeaseEnded() if self._boot is not None and news.sender == self._boot.sender:
                if self._leaving:
                    return
                if news.superseded:
                    raise Superseded
                raise BrokerUnavailable("The lease was lost")
            case Heartbeat():
                self._answer_terms(news)
            case Usage():
                if self._users is not None and news.sender.process != self.process:
                    self._users.told(news.sender.node_id, news.asked, time.monotonic())
            case TrailAsked():
                tell(news, self._trail, self._packer)

    def _answer_terms(self, news: Heartbeat) -> None:
        """Report to every reign that has not had our report yet."""
        begun = {
            partition: term
            for partition, term in news.terms.items()
            if term > self._terms.get((news.service, partition), 0)
        }
        for partition, term in begun.items():
            self._terms[news.service, partition] = term
        if not begun:
            return
        if news.service == topology.ROUTER:
            self._uplink.report_interest(begun, self._subscriptions)
        else:
            self._uplink.report_people(begun, self._connections)


async def _perform_all(
    channel: Channel, arrivals: "asyncio.Queue[Arrived]", perform: Callable[[Arrived], None]
) -> None:
    while True:
        some = await all_there(arrivals)
        for arrived in some:
            with _harmless():
                perform(arrived)
        await channel.acknowledge(*some)


@contextmanager
def _harmless() -> Iterator[None]:
    """Let a message that makes no sense end nothing but itself."""
    try:
        yield
    except ServiceError:
        raise
    except Exception:
        log.exception("fault", action="ignore")


async def _hand_over_all(
    channel: Channel,
    arrivals: "asyncio.Queue[Arrived]",
    perform: Callable[[bytes, Callable[[], None]], None],
) -> None:
    """Perform what arrives; acknowledge each when it is settled, in whatever order."""
    settled: asyncio.Queue[Arrived] = asyncio.Queue()

    async def acknowledge() -> None:
        while True:
            await channel.acknowledge(*await all_there(settled))

    async with asyncio.TaskGroup() as group:
        group.create_task(acknowledge())
        while True:
            arrived = await arrivals.get()
            with _harmless():
                perform(arrived.body, partial(settled.put_nowait, arrived))


async def _consume(
    connection: BrokerConnection, queue: Queue, prefetch: int
) -> "tuple[Channel, asyncio.Queue[Arrived]]":
    channel = await connection.channel(prefetch)
    arrivals: asyncio.Queue[Arrived] = asyncio.Queue()
    await channel.declare(queue)
    await channel.consume(queue.name, arrivals.put_nowait)
    return channel, arrivals

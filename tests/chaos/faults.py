"""What is done to the cluster. Each fault lasts a while, is undone, and notes both."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace

from standalone.local_cluster import Service
from tests.chaos.history import FaultBegan, FaultEnded, ProcessStarted
from tests.chaos.proxy import Proxy
from tests.chaos.recorder import Recorder
from tests.chaos.shapes import Shape, halves, one_alone, random_halves, ring
from tests.chaos.world import RABBITMQ, World
from tests.support.broker import Troubled

LINKS = "links"
NORMAL_WATERMARK = "0.6"
DELAY_SECONDS = 0.5
PARTED = (30, 30)


@dataclass(frozen=True)
class Victim:
    """Whom a fault strikes, and who writes it down."""

    node: str
    world: World
    recorder: Recorder
    rng: random.Random


Trouble = Callable[[Victim], AbstractAsyncContextManager[None]]
"""The fault holds inside the context, and is undone at its end."""


# ---- processes -----------------------------------------------------------------------------------


@asynccontextmanager
async def killed(victim: Victim) -> AsyncIterator[None]:
    """End a process as a crash would, and start it again."""
    service = victim.world.service(victim.node)
    service.kill()
    try:
        yield
    finally:
        _start(victim)


@asynccontextmanager
async def stopped(victim: Victim) -> AsyncIterator[None]:
    """Stop a process as an operator would, and start it again."""
    await _stop(victim.world.service(victim.node))
    try:
        yield
    finally:
        _start(victim)


async def _stop(service: Service) -> None:
    """Stop a process, which must end by itself; one that has hardly started dies of the signal."""
    status = await asyncio.to_thread(service.stop)
    assert status in {0, -signal.SIGTERM}, f"{service.node_id} has ended with status {status}"


def _start(victim: Victim) -> None:
    victim.world.service(victim.node).start()
    victim.recorder.note(ProcessStarted(victim.recorder.now(), victim.node))


@asynccontextmanager
async def rolled(victim: Victim) -> AsyncIterator[None]:
    """Replace all gateways one after the other, as a rolling update does."""
    await _replace(victim, [one for one in victim.world.nodes if one.startswith("gateway")])
    yield


@asynccontextmanager
async def upgraded(victim: Victim) -> AsyncIterator[None]:
    """Replace all processes one after the other by this checkout, as docs/upgrades.md says."""
    await _replace(victim, victim.world.size.nodes)
    yield


async def _replace(victim: Victim, nodes: list[str]) -> None:
    """Stop each, which must end well, and start it with this checkout's code."""
    for node in nodes:
        service = victim.world.service(node)
        await _stop(service)
        service.code = None
        _start(replace(victim, node=node))
        await victim.world.ready()


@asynccontextmanager
async def frozen(victim: Victim) -> AsyncIterator[None]:
    """Stop a process in the middle of whatever it does; all its sockets stay open."""
    service = victim.world.service(victim.node)
    service.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        service.signal(signal.SIGCONT)


# ---- wires ---------------------------------------------------------------------------------------


def troubled_wire(choose: Callable[[Victim], Proxy], how: Callable[[Proxy], None]) -> Trouble:
    """Return the fault of a wire."""

    @asynccontextmanager
    async def trouble(victim: Victim) -> AsyncIterator[None]:
        wire = choose(victim)
        how(wire)
        try:
            yield
        finally:
            wire.heal()

    return trouble


def to_broker(victim: Victim) -> Proxy:
    """The wire between a process and RabbitMQ."""
    return victim.world.to_broker[victim.node]


def to_clients(victim: Victim) -> Proxy:
    """The wire between a gateway and its clients."""
    return victim.world.to_clients[victim.node]


def slow(wire: Proxy) -> None:
    """Delay what passes."""
    wire.slow_down(DELAY_SECONDS)


# ---- the broker ----------------------------------------------------------------------------------


def broker(victim: Victim) -> Troubled:
    """The RabbitMQ that is struck, or that one of its nodes."""
    return victim.world.brokers[victim.node]


@asynccontextmanager
async def rabbitmq_killed(victim: Victim) -> AsyncIterator[None]:
    """End RabbitMQ as a crash would, and start it again on its data."""
    await asyncio.to_thread(broker(victim).kill)
    try:
        yield
    finally:
        await asyncio.to_thread(broker(victim).restart)


@asynccontextmanager
async def rabbitmq_stopped(victim: Victim) -> AsyncIterator[None]:
    """Stop RabbitMQ in good order, and start it again on its data."""
    await asyncio.to_thread(lambda: broker(victim).stop(keep_data=True))
    try:
        yield
    finally:
        await asyncio.to_thread(broker(victim).restart)


@asynccontextmanager
async def rabbitmq_frozen(victim: Victim) -> AsyncIterator[None]:
    """Stop RabbitMQ in the middle of whatever it does."""
    await asyncio.to_thread(broker(victim).pause)
    try:
        yield
    finally:
        await asyncio.to_thread(broker(victim).resume)


@asynccontextmanager
async def out_of_memory(victim: Victim) -> AsyncIterator[None]:
    """Have RabbitMQ block whoever publishes."""
    await _watermark(victim, "0")
    try:
        yield
    finally:
        await _watermark(victim, NORMAL_WATERMARK)


async def _watermark(victim: Victim, fraction: str) -> None:
    ctl = broker(victim).ctl
    await asyncio.to_thread(ctl, "set_vm_memory_high_watermark", fraction)


# ---- between brokers -----------------------------------------------------------------------------


def parted(shape: Shape) -> Trouble:
    """Return the fault of links between nodes of RabbitMQ."""

    @asynccontextmanager
    async def trouble(victim: Victim) -> AsyncIterator[None]:
        cluster = victim.world.cluster
        cut = shape([node.name for node in cluster.nodes], victim.rng)
        await asyncio.to_thread(cluster.network.partition, cut)
        try:
            yield
            serving = await asyncio.to_thread(cluster.serving)
            assert serving != cluster.nodes, (
                f"{cut} was cut and nobody noticed: this proves nothing"
            )
        finally:
            await asyncio.to_thread(cluster.network.heal)

    return trouble


# ---- all of them ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """A fault by its name, and whom it may strike."""

    name: str
    kind: str
    """``gateway``, ``router``, ``presence`` or ``rabbitmq``; ``links`` are those of its nodes."""

    trouble: Trouble
    seconds: tuple[float, float]
    """How long it holds, from and to."""

    def targets(self, world: World) -> list[str]:
        """Return the names of all of its kind."""
        return [one for one in world.nodes if one.startswith(self.kind)] or [RABBITMQ]

    async def strike(self, world: World, recorder: Recorder, rng: random.Random) -> None:
        """Inject it into one of its kind, hold it, and undo it."""
        node, seconds = rng.choice(self.targets(world)), rng.uniform(*self.seconds)
        cut_off: tuple[str, ...] = ()
        recorder.note(FaultBegan(recorder.now(), self.name, node))
        try:
            async with self.trouble(Victim(node, world, recorder, rng)):
                await asyncio.sleep(seconds)
                cut_off = await world.cut_off()
            await world.whole()
        finally:
            recorder.note(FaultEnded(recorder.now(), self.name, node, cut_off))


def _of_each(kind: str) -> list[Fault]:
    return [
        Fault(f"kill {kind}", kind, killed, (1, 6)),
        Fault(f"restart {kind}", kind, stopped, (0, 3)),
        Fault(f"freeze {kind}", kind, frozen, (3, 20)),
        Fault(f"cut {kind}", kind, troubled_wire(to_broker, Proxy.cut), (0, 8)),
        Fault(f"silence {kind}", kind, troubled_wire(to_broker, Proxy.fall_silent), (3, 15)),
        Fault(f"delay {kind}", kind, troubled_wire(to_broker, slow), (3, 10)),
    ]


FAULTS = {
    fault.name: fault
    for fault in (
        *_of_each("gateway"),
        *_of_each("router"),
        *_of_each("presence"),
        Fault("cut clients", "gateway", troubled_wire(to_clients, Proxy.cut), (0, 2)),
        Fault("silence clients", "gateway", troubled_wire(to_clients, Proxy.fall_silent), (5, 30)),
        Fault("kill rabbitmq", RABBITMQ, rabbitmq_killed, (0, 3)),
        Fault("restart rabbitmq", RABBITMQ, rabbitmq_stopped, (0, 3)),
        Fault("freeze rabbitmq", RABBITMQ, rabbitmq_frozen, (3, 20)),
        Fault("memory alarm", RABBITMQ, out_of_memory, (3, 20)),
    )
}

PARTITIONS = {
    fault.name: fault
    for fault in (
        Fault("partition halves", LINKS, parted(halves), PARTED),
        Fault("partition random halves", LINKS, parted(random_halves), PARTED),
        Fault("partition ring", LINKS, parted(ring), PARTED),
        Fault("partition one node", LINKS, parted(one_alone), PARTED),
    )
}
"""What can be done to several nodes of RabbitMQ only."""

REPLACEMENTS = {
    fault.name: fault
    for fault in (
        Fault("roll gateways", "gateway", rolled, (0, 1)),
        Fault("upgrade", "router", upgraded, (0, 1)),
    )
}
"""What is done on purpose, one process after another; each is over before it would hold. An upgrade
needs a world in which some processes run older code."""

ALL = FAULTS | PARTITIONS | REPLACEMENTS


def usual(brokers: int) -> tuple[str, ...]:
    """Return what is done if nothing is asked for, with so many nodes of RabbitMQ.

    With several it is RabbitMQ's own faults: each strikes one of them, or the links between them.
    None is frozen: a node that wakes up never sees that the others took it for gone, so RabbitMQ
    does not stop it, and its cluster is no longer one (rabbitmq.com/docs/partitions, of suspended
    nodes).
    """
    if brokers == 1:
        return tuple(FAULTS)
    usual = [fault.name for fault in ALL.values() if fault.kind in {RABBITMQ, LINKS}]
    return tuple(name for name in usual if name != "freeze rabbitmq")

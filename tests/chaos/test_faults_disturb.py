"""Each fault disturbs what it names: one that does nothing would pass every other test.

A sign that a fault is there must be missing before it, seen while it holds, and missing after it.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from yarl import URL

from realtime_client import RealtimeError, connect
from standalone.private_rabbitmq import speaks_amqp
from standalone.tokens import development_token
from tests.chaos.faults import FAULTS, Fault, Victim, broker, to_broker, to_clients
from tests.chaos.recorder import Recorder
from tests.chaos.world import RABBITMQ, Size, World
from tests.support.broker import Troubled

pytestmark = [pytest.mark.rabbitmq, pytest.mark.asyncio(loop_scope="module")]

SIZE = Size(gateways=1, routers=1, presence=1)
PATIENCE_SECONDS = 60.0

Sign = Callable[[Victim], Awaitable[bool]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    rabbitmq: Troubled, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """The smallest cluster, with a client who talks all the time."""
    async with World(rabbitmq, tmp_path_factory.mktemp("logs"), SIZE) as world:
        talking = asyncio.create_task(talk(*world.urls))
        yield world
        talking.cancel()
        with suppress(asyncio.CancelledError):
            await talking


async def talk(url: str) -> None:
    """Speak through the wire of a gateway, and come back whenever that has failed."""
    while True:
        with suppress(RealtimeError):
            async with await connect(url, development_token("talker")) as client:
                while True:
                    await client.broadcast("any.topic", {})
                    await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)


# ---- signs ---------------------------------------------------------------------------------------


async def gone(victim: Victim) -> bool:
    return not victim.world.service(victim.node).running


async def still(victim: Victim) -> bool:
    return state(victim.world.service(victim.node).pid) == "T"


def state(pid: int) -> str:
    """Return what Linux says that a process does, by a letter, after its name in brackets."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def without_broker(victim: Victim) -> bool:
    """Whether the wire carries nothing, and its process has noticed: so it has no other one."""
    ready = await asyncio.to_thread(lambda: victim.world.service(victim.node).ready)
    return to_broker(victim).connections == 0 and not ready


async def broker_held_back(victim: Victim) -> bool:
    return to_broker(victim).held > 0


async def without_clients(victim: Victim) -> bool:
    return to_clients(victim).connections == 0


async def clients_held_back(victim: Victim) -> bool:
    return to_clients(victim).held > 0


async def rabbitmq_mute(victim: Victim) -> bool:
    url = URL(broker(victim).url)
    return not await asyncio.to_thread(speaks_amqp, str(url.host), url.port or 0)


async def publishers_blocked(victim: Victim) -> bool:
    """Whether our processes are ``blocked``, or ``blocking`` until they next publish."""
    ctl = broker(victim).ctl
    return "block" in await asyncio.to_thread(ctl, "list_connections", "state")


SIGNS: dict[str, Sign] = {
    "cut clients": without_clients,
    "silence clients": clients_held_back,
    "kill rabbitmq": rabbitmq_mute,
    "restart rabbitmq": rabbitmq_mute,
    "freeze rabbitmq": rabbitmq_mute,
    "memory alarm": publishers_blocked,
    "kill": gone,
    "restart": gone,
    "freeze": still,
    "cut": without_broker,
    "silence": broker_held_back,
    "delay": broker_held_back,
}


def sign_of(fault: Fault) -> Sign:
    """Return the sign by the fault's name, or by its verb: a new fault needs one, too."""
    return SIGNS.get(fault.name) or SIGNS[fault.name.split()[0]]


def victim_of(world: World, node: str) -> Victim:
    return Victim(node, world, Recorder(), random.Random())  # noqa: S311 - it chooses nothing


async def until(sign: Sign, victim: Victim, *, seen: bool) -> None:
    """Wait until the sign is seen, or is not seen."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await sign(victim) is not seen:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.02)


# ---- tests ---------------------------------------------------------------------------------------


async def test_every_process_reaches_rabbitmq_through_its_own_wire_and_not_past_it(
    world: World,
) -> None:
    def at_rabbitmq() -> int:
        return len(
            world.brokers[RABBITMQ].ctl("list_connections", "--no-table-headers", "pid").split()
        )

    async def by_wire_alone(_: Victim) -> bool:
        carried = [wire.connections for wire in world.to_broker.values()]
        return all(carried) and sum(carried) == await asyncio.to_thread(at_rabbitmq)

    await world.ready()
    await until(by_wire_alone, victim_of(world, RABBITMQ), seen=True)


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_disturbs_what_it_names_for_as_long_as_it_holds(
    world: World, name: str
) -> None:
    fault = FAULTS[name]
    sign, [node] = sign_of(fault), fault.targets(world)
    victim = victim_of(world, node)
    await world.ready()  # or what the last fault has left might be taken for the sign
    await until(sign, victim, seen=False)

    async with fault.trouble(victim):
        await until(sign, victim, seen=True)

    await until(sign, victim, seen=False)

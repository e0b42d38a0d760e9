"""One run: load, faults by chance, quiet, verdict."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from standalone.local_cluster import NotStarted
from tests.chaos.broker_cluster import PrivateBrokerCluster
from tests.chaos.cast import Cast, Load
from tests.chaos.checker import Verdict, check
from tests.chaos.clients import Habits
from tests.chaos.faults import ALL, FAULTS
from tests.chaos.history import History
from tests.chaos.reading import Limits
from tests.chaos.recorder import Recorder
from tests.chaos.violations import Breach
from tests.chaos.world import Size, World
from tests.support.broker import Troubled

GATHER_SECONDS = 60.0
FINISH_SECONDS = 150.0
CALM_SECONDS = 3.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is to be done; the same seed gives the same faults, in the same order, as long."""

    seed: int
    seconds: float
    faults: tuple[str, ...] = tuple(FAULTS)
    brokers: int = 1
    """Nodes of RabbitMQ."""

    pause: tuple[float, float] = (2.0, 8.0)
    """Between one fault and the next."""

    quiet: float = 18.0
    """At least so long everything is watched at the end, so that presence can be judged."""

    drain: float = 75.0
    """At most so long is waited for what is still on its way: direct messages for a dead gateway
    wait 30 s in its queue before they are looked at again."""

    habits: Habits = field(default_factory=Habits)
    load: Load = field(default_factory=Load)
    size: Size = field(default_factory=Size)
    limits: Limits = field(default_factory=Limits)
    sabotage: str = ""
    code: Mapping[str, Path] = field(default_factory=dict)
    """By process: the checkout that it runs, if it is not this one."""

    settings: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    """Of what RabbitMQ's container is made; none for an installed RabbitMQ."""


@dataclass(frozen=True)
class Outcome:
    """What became of a plan."""

    plan: Plan
    history: History
    verdict: Verdict
    unready: tuple[str, ...]
    """Processes that have ended by themselves, or cannot do their work."""

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not self.verdict.violations and not self.unready


async def run(
    plan: Plan, rabbitmq: Troubled | PrivateBrokerCluster, logs: Path, say: Say
) -> Outcome:
    """Carry out a plan."""
    say(f"seed {plan.seed}: {plan.seconds:.0f} s of {', '.join(plan.faults) or 'no faults'}")
    recorder, rng = Recorder(), random.Random(plan.seed)  # noqa: S311 - to be repeated
    world = World(rabbitmq, logs, plan.size, plan.sabotage, plan.settings, plan.code)
    async with world, recorder.watching_the_clock(), _cast(plan, world, recorder, rng) as cast:
        await cast.begin(GATHER_SECONDS)
        await asyncio.sleep(CALM_SECONDS)
        await _trouble(plan, world, recorder, rng, say)
        say("quiet")
        await _settle(plan, world, cast, say)
        history, verdict = await _drained(plan, world, recorder)
        unready = await asyncio.to_thread(world.unready)
    return Outcome(plan, history, verdict, unready)


@asynccontextmanager
async def _cast(
    plan: Plan, world: World, recorder: Recorder, rng: random.Random
) -> AsyncIterator[Cast]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        cast = Cast(recorder, session, world.urls, rng, plan.habits, plan.load)
        try:
            yield cast
        finally:
            await cast.disperse()


async def _trouble(
    plan: Plan, world: World, recorder: Recorder, rng: random.Random, say: Say
) -> None:
    """Inject each fault in turn, in an order of chance, until the time is over."""
    deadline = recorder.now() + plan.seconds
    turn: list[str] = []
    while recorder.now() < deadline:
        if plan.faults:
            turn = turn or rng.sample(plan.faults, len(plan.faults))
            name = turn.pop()
            began = recorder.now()
            await ALL[name].strike(world, recorder, rng)
            say(f"{began:7.1f} {name}, {recorder.now() - began:.1f} s")
        await asyncio.sleep(rng.uniform(*plan.pause))


async def _settle(plan: Plan, world: World, cast: Cast, say: Say) -> None:
    """End what was begun. What does not end is the checker's business."""
    try:
        with suppress(NotStarted):  # told at the end
            await world.ready()
        await cast.quiet_down(FINISH_SECONDS)
        await cast.all_here(GATHER_SECONDS)
    except TimeoutError:
        say("not all clients came to rest")
    await asyncio.sleep(plan.quiet)


async def _drained(plan: Plan, world: World, recorder: Recorder) -> tuple[History, Verdict]:
    """Give what is still on its way the time it needs, and judge."""
    deadline = recorder.now() + plan.drain
    while True:
        history = recorder.history(await world.depths())
        verdict = check(history, plan.limits)
        waiting = {Breach.LOST, Breach.STUCK} & verdict.kinds
        if not waiting or recorder.now() > deadline:
            return history, verdict
        await asyncio.sleep(3)

"""Who takes part: publishers, those who listen, those who come and go, and those who watch."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import aiohttp

from tests.chaos.clients import PLAIN, ChaosClient, Habits
from tests.chaos.history import Kind
from tests.chaos.publishers import Publisher
from tests.chaos.recorder import Recorder

TOPICS = tuple(f"chaos.{number}" for number in range(12))
HERE_SECONDS = (4.0, 15.0)
AWAY_SECONDS = (1.0, 12.0)


@dataclass(frozen=True)
class Load:
    """How many of whom, and how much they send.

    What history keeps of a topic must outlast the longest fault: each topic is spoken on by a third
    of the publishers.
    """

    publishers: int = 6
    listeners: int = 6
    plain: int = 2
    visitors: int = 3
    watchers: int = 2
    rate: float = 8.0
    """Commands a second of each publisher: half of them broadcasts, half direct messages."""


@dataclass
class Cast:
    """All clients of a run."""

    recorder: Recorder
    session: aiohttp.ClientSession
    urls: list[str]
    rng: random.Random
    habits: Habits
    load: Load = Load()
    prefix: str = ""
    """Of all names; runs on one cluster must differ in it, or keys and mailboxes of one are met
    in the next."""

    publishers: list[Publisher] = field(default_factory=list)
    residents: list[ChaosClient] = field(default_factory=list)
    visitors: list[ChaosClient] = field(default_factory=list)
    _roaming: "list[asyncio.Task[None]]" = field(default_factory=list)
    _stay: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        for number in range(self.load.listeners):
            patterns = (TOPICS, ("chaos.*",), ("chaos.#",), TOPICS)[number % 4]
            self.residents.append(
                self._client(f"{self.prefix}listener{number}", patterns, self.habits)
            )
        for number in range(self.load.plain):
            self.residents.append(self._client(f"{self.prefix}plain{number}", TOPICS, PLAIN))
        for number in range(self.load.watchers):
            self.residents.append(
                self._client(f"{self.prefix}watcher{number}", ("presence.*",), PLAIN)
            )
        for number in range(self.load.visitors):
            self.visitors.append(
                self._client(f"{self.prefix}visitor{number}", TOPICS[:3], self.habits)
            )
        for number in range(self.load.publishers):
            self.publishers.append(self._publisher(number))

    def __iter__(self) -> Iterator[ChaosClient]:
        yield from (*self.residents, *self.visitors, *self.publishers)

    def _client(self, name: str, patterns: tuple[str, ...], habits: Habits) -> ChaosClient:
        return ChaosClient(
            name, self.recorder, self.session, self.urls, patterns, habits, rng=self._chance()
        )

    def _publisher(self, number: int) -> Publisher:
        targets = [one.user for one in (*self.residents, *self.visitors)]
        topics = [topic for at, topic in enumerate(TOPICS) if at % 3 == number % 3]
        routes: list[tuple[Kind, str]] = []
        for topic in topics * len(targets):
            routes.append(("broadcast", topic))
            routes.append(("direct", targets[(len(routes) // 2 + number) % len(targets)]))
        return Publisher(
            f"{self.prefix}publisher{number}",
            self.recorder,
            self.session,
            self.urls,
            habits=self.habits,
            rng=self._chance(),
            routes=routes,
            rate=self.load.rate,
        )

    def _chance(self) -> random.Random:
        return random.Random(self.rng.random())  # noqa: S311 - to be repeated

    # ---- acts ------------------------------------------------------------------------------------

    async def begin(self, patience: float) -> None:
        """Have everybody come, then speak, and the visitors come and go."""
        for one in self:
            one.come()
        await self.all_here(patience)
        for publisher in self.publishers:
            publisher.publish()
        self._roaming = [asyncio.create_task(self._roam(one)) for one in self.visitors]

    async def all_here(self, patience: float) -> None:
        """Wait until all are connected, and have what they want."""
        async with asyncio.timeout(patience):
            for one in self:
                await one.here.wait()
                if one.patterns:
                    await one.subscribed.wait()

    async def _roam(self, visitor: ChaosClient) -> None:
        while not self._stay.is_set():
            if await self._passes(visitor.rng.uniform(*HERE_SECONDS)):
                await visitor.leave()
                await self._passes(visitor.rng.uniform(*AWAY_SECONDS))
                visitor.come()

    async def _passes(self, seconds: float) -> bool:
        """Let so much time pass; return at once, and False, when all are called together."""
        try:
            async with asyncio.timeout(seconds):
                await self._stay.wait()
        except TimeoutError:
            return True
        return False

    async def quiet_down(self, patience: float) -> None:
        """Have all come together, and the publishers end what they have begun."""
        self._stay.set()
        async with asyncio.timeout(patience):
            await asyncio.gather(*self._roaming)
            await asyncio.gather(*(one.finish() for one in self.publishers))

    async def disperse(self) -> None:
        """End everything, whatever its state."""
        tasks = [*self._roaming, *(task for one in self.publishers for task in one.tasks)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(one.leave() for one in self))

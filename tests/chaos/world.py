"""The processes, each on wires of its own that can be troubled."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Self

from yarl import URL

from standalone.local_cluster import LocalCluster, Service
from tests.chaos.broker_cluster import PrivateBrokerCluster
from tests.chaos.proxy import Proxy
from tests.support.broker import Troubled
from tests.support.cluster import free_ports

RABBITMQ = "rabbitmq"
DEPTH_SAMPLES = 3
"""Leases and heartbeats pass through the queues all the time."""


@dataclass
class Sabotaged(Service):
    """A process in which one promise is broken on purpose."""

    sabotage: str = ""

    def _command(self) -> list[str]:
        return ["tests.chaos.sabotage", self.module, self.sabotage]


@dataclass
class ProxiedCluster(LocalCluster):
    """A cluster of which each process reaches RabbitMQ through a wire of its own."""

    amqp_urls: dict[str, str] = field(default_factory=dict)
    sabotage: str = ""
    """What is broken in the gateways, if anything."""

    code: Mapping[str, Path] = field(default_factory=dict)
    """By process: the checkout that it runs, if it is not this one."""

    def add(self, module: str, node_id: str, **own: str) -> Service:
        """Start one more process, on its own wire."""
        environment = {
            "REALTIME_MODE": "development",
            **self.settings,
            **own,
            "REALTIME_AMQP_URL": self.amqp_urls[node_id],
        }
        log = self.logs / f"{node_id}.log"
        service = Service(module, node_id, environment, log, self.code.get(node_id))
        if self.sabotage and module == "gateway":
            service = Sabotaged(module, node_id, environment, log, sabotage=self.sabotage)
        service.start()
        self.services.append(service)
        return service


@dataclass(frozen=True)
class Size:
    """How many of each."""

    gateways: int = 3
    routers: int = 2
    presence: int = 2

    @property
    def nodes(self) -> list[str]:
        """The names that ``LocalCluster`` gives them."""
        counts = {"router": self.routers, "presence": self.presence, "gateway": self.gateways}
        return [f"{kind}-{n}" for kind, many in counts.items() for n in range(1, many + 1)]


@dataclass
class World:
    """A running cluster with its wires and its broker."""

    rabbitmq: Troubled | PrivateBrokerCluster
    logs: Path
    size: Size = Size()
    sabotage: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, Path] = field(default_factory=dict)
    to_broker: dict[str, Proxy] = field(default_factory=dict)
    to_clients: dict[str, Proxy] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._lay_wires(stack)
            stack.push_async_callback(self._stop)
            await asyncio.to_thread(self.processes.start)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _stop(self) -> None:
        for proxy in (*self.to_broker.values(), *self.to_clients.values()):
            proxy.heal()
        await asyncio.to_thread(self.processes.stop)

    async def _lay_wires(self, stack: AsyncExitStack) -> None:
        nodes = self.size.nodes
        gateways = [node for node in nodes if node.startswith("gateway")]
        ports = iter(free_ports(len(nodes) + 2 * len(gateways)))
        listening = [next(ports) for _ in gateways]
        amqp_urls = {}
        for node, broker in self.home.items():
            url = URL(self.brokers[broker].url)
            wire = Proxy(next(ports), url.port or 5672)
            self.to_broker[node] = await stack.enter_async_context(wire)
            amqp_urls[node] = str(url.with_port(wire.port))
        for node, target in zip(gateways, listening, strict=True):
            self.to_clients[node] = await stack.enter_async_context(Proxy(next(ports), target))
        self.processes = ProxiedCluster(
            "",  # each has its own
            self.logs,
            gateway_ports=listening,
            routers=self.size.routers,
            presence=self.size.presence,
            settings=self.settings,
            amqp_urls=amqp_urls,
            sabotage=self.sabotage,
            code=self.code,
        )

    @property
    def brokers(self) -> Mapping[str, Troubled]:
        """The nodes of RabbitMQ by name."""
        if isinstance(self.rabbitmq, PrivateBrokerCluster):
            return {f"{RABBITMQ}-{n}": node for n, node in enumerate(self.rabbitmq.nodes, 1)}
        return {RABBITMQ: self.rabbitmq}

    @property
    def cluster(self) -> PrivateBrokerCluster:
        """The nodes of RabbitMQ and their network, of a world that has several."""
        assert isinstance(self.rabbitmq, PrivateBrokerCluster), "one node has no links"
        return self.rabbitmq

    @property
    def home(self) -> dict[str, str]:
        """To which node of RabbitMQ each process connects: they take turns."""
        return dict(zip(self.size.nodes, cycle(self.brokers), strict=False))

    @property
    def nodes(self) -> list[str]:
        """Whom a fault may strike."""
        return [*self.size.nodes, *self.brokers]

    async def cut_off(self) -> tuple[str, ...]:
        """Return the processes whose node of RabbitMQ does not serve, while another one does."""
        if not isinstance(self.rabbitmq, PrivateBrokerCluster):
            return ()
        serving = await asyncio.to_thread(self.rabbitmq.serving)
        return tuple(one for one, home in self.home.items() if self.brokers[home] not in serving)

    async def whole(self) -> None:
        """Wait until every node of RabbitMQ does its work again.

        Raises:
            RuntimeError: that took too long.
        """
        if isinstance(self.rabbitmq, PrivateBrokerCluster):
            await asyncio.to_thread(self.rabbitmq.wait_until_whole)

    @property
    def urls(self) -> list[str]:
        """Where clients connect: the gateways' wires."""
        return [f"ws://127.0.0.1:{wire.port}/ws" for wire in self.to_clients.values()]

    def service(self, node: str) -> Service:
        """Return a process by its name."""
        return next(one for one in self.processes.services if one.node_id == node)

    async def ready(self) -> None:
        """Wait until every process is ready.

        Raises:
            NotStarted: one ended, or was not ready in time.
        """
        await asyncio.to_thread(self.processes.wait_ready)

    def unready(self) -> tuple[str, ...]:
        """Return the processes that have ended by themselves, or cannot do their work."""
        return tuple(one.node_id for one in self.processes.services if not one.ready)

    async def depths(self) -> dict[str, int]:
        """Return how many messages each queue holds for longer than a moment."""
        samples = [await asyncio.to_thread(self._depths) for _ in range(DEPTH_SAMPLES)]
        names = set.intersection(*(set(sample) for sample in samples))
        return {name: min(sample[name] for sample in samples) for name in sorted(names)}

    def _depths(self) -> dict[str, int]:
        # Each node tells of its own: the others would have to call the asker, and do not know it.
        asked = ("list_queues", "--local", "--no-table-headers", "name", "messages")
        told = "".join(broker.ctl(*asked) for broker in self.brokers.values())
        rows = (line.rsplit("\t", 1) for line in told.splitlines() if "\t" in line)
        return {name: int(messages) for name, messages in rows}

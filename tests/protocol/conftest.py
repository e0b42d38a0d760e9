"""Every promise of the protocol on both brokers: in one process, and in a cluster over RabbitMQ.

What a cluster has heard, it remembers from test to test: so each has users and topics of its own.
"""

import asyncio
import json
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from itertools import cycle
from typing import Any, NamedTuple, TypeAlias

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient

from shared import settings
from standalone.local_cluster import LocalCluster
from tests.component.conftest import (  # noqa: F401 - a hook and a fixture, here as there
    _hear_goodbyes_at_once,
    pytest_asyncio_loop_factories,
)
from tests.component.staging import Stall
from tests.support.api import BackEnd
from tests.support.broker import troubled
from tests.support.cluster import (
    PARTITIONS,
    balanced,
    eventually,
    free_ports,
    make_cluster,
    metric,
    url_of,
)
from tests.support.embedded import SECRET, EmbeddedServer, Message, Place, Talk, token
from tests.support.rabbitmq import can_run_privately
from tests.support.schemas import misfits

Name: TypeAlias = Callable[[str], str]

HISTORY = {
    "off.#": {"messages": 0, "seconds": 0},
    "few.#": {"messages": 3, "seconds": 300},
    "brief.#": {"messages": 100, "seconds": 2},
    **settings.HISTORY,
}


class Gateways(Place):
    """A cluster's gateways, entered in turn, so that whoever comes next is on another one."""

    def __init__(self, cluster: LocalCluster, sessions: list[ClientSession]) -> None:
        self.cluster = cluster
        self.client = sessions[0]
        self._sessions = cycle(sessions)

    async def open(self, credential: str | None = None, **kwargs: Any) -> Talk:
        self.client = next(self._sessions)
        return await super().open(credential, **kwargs)


@pytest.fixture(scope="session")
def cluster(image: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Two gateways, two routers, two presence services, over a RabbitMQ of their own."""
    if not image and not can_run_privately():
        pytest.fail("A RabbitMQ of one's own is needed: install rabbitmq-server")
    given = {"REALTIME_JWT_SECRET": SECRET, "REALTIME_HISTORY": json.dumps(HISTORY)}
    logs = tmp_path_factory.mktemp("logs")
    with troubled(image) as rabbitmq, make_cluster(rabbitmq.url, logs, **given) as running:
        yield running


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """The services as they are in development, on either broker."""
    if request.param == "memory":
        server = EmbeddedServer(history=HISTORY)
        async with TestClient(server) as client:
            yield Place(server, client)
        return
    running: LocalCluster = request.getfixturevalue("cluster")
    for service in PARTITIONS:
        await balanced(running, service)  # what is said while a partition moves may wait a little
    async with AsyncExitStack() as stack:
        urls = [url_of(running, number).removesuffix("/ws") for number in (0, 1)]
        sessions = [await stack.enter_async_context(ClientSession(url)) for url in urls]
        yield Gateways(running, sessions)
    await eventually(lambda: _empty(running), 20, "all have left")


def _empty(cluster: LocalCluster) -> bool:
    pages = [gateway.ask("/metrics") for gateway in cluster.of("gateway")]
    return not any(metric(page, "realtime_gateway_connections") for page in pages)


@pytest.fixture
def name() -> Name:
    """Make names of this test's own, for users and words of topics."""
    mark = secrets.token_hex(3)
    return lambda said: f"{said}-{mark}"


@pytest.fixture
def ops(place: Place) -> BackEnd:
    """A back end with the rights of an administrator."""
    return BackEnd(place.client, token("ops", roles=["admin"]))


class Started(NamedTuple):
    """A gateway of a test's own, and how to stop it."""

    place: Place
    stop: Callable[[], Awaitable[None]]


@pytest.fixture
async def start(place: Place) -> AsyncIterator[Callable[..., Awaitable[Started]]]:
    """Start one more gateway, with settings of its own; in one process, one more of everything.

    Connect elsewhere before: what begins in this loop later counts as left behind by the gateway.
    """
    async with AsyncExitStack() as stack:

        async def start(**own: Any) -> Started:
            if not isinstance(place, Gateways):
                server = EmbeddedServer(**own)
                client = await stack.enter_async_context(TestClient(server))
                return Started(Place(server, client), server.close)
            [port] = free_ports(1)
            given = {f"REALTIME_{key.upper()}": _written(own[key]) for key in own}
            service = place.cluster.add("gateway", "gateway-own", REALTIME_PORT=str(port), **given)
            stack.callback(place.cluster.services.remove, service)
            stack.callback(service.stop)
            place.cluster.wait_ready()
            session = await stack.enter_async_context(ClientSession(f"http://localhost:{port}"))
            beside = Gateways(place.cluster, [session])
            return Started(beside, lambda: asyncio.to_thread(service.stop))

        yield start


def _written(setting: Any) -> str:
    return ",".join(setting) if isinstance(setting, list) else str(setting)


def silenced(place: Place) -> AbstractContextManager[object]:
    """Let the gateway of every second connection do nothing; in one process, hear no broadcasts."""
    return _paused(place.cluster) if isinstance(place, Gateways) else Stall("inbox")


@contextmanager
def _paused(cluster: LocalCluster) -> Iterator[None]:
    second = cluster.of("gateway")[1]
    second.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        second.signal(signal.SIGCONT)


@pytest.fixture(autouse=True)
def _everything_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    hear = Talk._next

    async def checked(talk: Talk) -> Message:
        message = await hear(talk)
        assert message["type"] == "Binary" or misfits(message) == []
        return message

    monkeypatch.setattr(Talk, "_next", checked)

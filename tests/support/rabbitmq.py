"""A RabbitMQ for the tests, from wherever there is one; and ways to trouble it."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress

import aio_pika
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from yarl import URL

from standalone.private_rabbitmq import START_TIMEOUT, PrivateRabbitMQ, installed, speaks_amqp
from tests.support.debian import install

IMAGE = "rabbitmq:4-management"


class NoRabbitMQ(Exception):
    """No RabbitMQ for the tests: set REALTIME_AMQP_URL, run Docker, or install rabbitmq-server."""


@contextmanager
def any_rabbitmq() -> Iterator[str]:
    """Yield the URL of the first RabbitMQ that can be had; end it if it was started here."""
    sources: tuple[Callable[[], AbstractContextManager[str] | None], ...] = (
        _named,
        _in_docker,
        _private,
    )
    for source in sources:
        if (found := source()) is not None:
            with found as url:
                yield url
            return
    raise NoRabbitMQ(NoRabbitMQ.__doc__)


def can_run_privately() -> bool:
    """Whether a node of one's own can be had, if need be by installing it."""
    return installed() or (install("rabbitmq-server") and installed())


async def delete_queues(url: str, *names: str) -> None:
    """Delete queues that outlive their connections."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        for name in names:
            await channel.queue_delete(name)


async def delete_exchanges(url: str, *names: str) -> None:
    """Delete exchanges."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        for name in names:
            await channel.exchange_delete(name)


class Relay:
    """A wire to the broker that a test can cut, or fall silent."""

    def __init__(self, url: str) -> None:
        self._target = URL(url)
        self._writers: list[asyncio.StreamWriter] = []
        self._flowing = asyncio.Event()
        self._flowing.set()

    @property
    def url(self) -> str:
        """Where to connect instead."""
        port = self._server.sockets[0].getsockname()[1]
        return str(self._target.with_host("127.0.0.1").with_port(port))

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        """End everything."""
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Reset every connection, as a failing network would."""
        self._flowing.set()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def fall_silent(self) -> None:
        """Keep every connection open and pass nothing on."""
        self._flowing.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._target.host or "localhost", self._target.port or 5672
        broker_reader, broker_writer = await asyncio.open_connection(host, port)
        self._writers += [writer, broker_writer]
        await asyncio.gather(self._pass(reader, broker_writer), self._pass(broker_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._flowing.wait()
                writer.write(data)
        writer.close()


def _named() -> AbstractContextManager[str] | None:
    url = os.environ.get("REALTIME_AMQP_URL")
    return nullcontext(url) if url else None


def _private() -> AbstractContextManager[str] | None:
    return _private_node() if can_run_privately() else None


@contextmanager
def _private_node() -> Iterator[str]:
    with PrivateRabbitMQ() as node:
        yield node.url


def _in_docker() -> AbstractContextManager[str] | None:
    """Start a container, unless no engine answers, or it cannot have or run the image."""
    # It would need a second image and the engine's socket, and we stop what we start.
    testcontainers_config.ryuk_disabled = True
    with ExitStack() as stack:
        try:
            engine = DockerClient(timeout=10).client  # of the present context
            stack.callback(engine.close)
            if not engine.images.list(IMAGE):
                if installed():
                    return None  # quicker than any download
                engine.images.pull(IMAGE)
            container = stack.enter_context(DockerContainer(IMAGE).with_exposed_ports(5672))
            url = _when_it_serves(container)
        except Exception:
            return None  # whatever is wrong with Docker, there are other ways
        return _until_left(stack.pop_all(), url)


def _when_it_serves(container: DockerContainer) -> str:
    host, deadline = container.get_container_host_ip(), time.monotonic() + START_TIMEOUT
    # Asked for its port, a container that has ended raises.
    while not speaks_amqp(host, port := int(container.get_exposed_port(5672))):
        if time.monotonic() > deadline:
            raise NoRabbitMQ("The RabbitMQ container did not start")
        time.sleep(0.1)
    return f"amqp://guest:guest@{host}:{port}/"


@contextmanager
def _until_left(stack: ExitStack, url: str) -> Iterator[str]:
    with stack:
        yield url

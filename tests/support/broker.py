"""The RabbitMQ that is troubled: a private node, or a container of any version."""

import time
from contextlib import AbstractContextManager
from typing import Protocol, Self

import docker  # type: ignore[import-untyped]  # its stubs are not worth a dependency
from docker.models.containers import Container  # type: ignore[import-untyped]

from standalone.private_rabbitmq import START_TIMEOUT, PrivateRabbitMQ, speaks_amqp
from tests.support.cluster import free_ports

WRITE_DOWN = "mnesia:sync_log(), [dets:sync(Table) || Table <- dets:all()]."
"""What makes RabbitMQ write down which queues there are. By itself, 3.10 and 4.0 do so up to some
seconds after they have confirmed a queue; killed before that, the queue does not come back."""


class Troubled(Protocol):
    """A RabbitMQ node that can be ended, paused and started again on its data."""

    @property
    def url(self) -> str:
        """Where clients connect."""

    def kill(self) -> None:
        """End it as a crash would."""

    def stop(self, *, keep_data: bool = False) -> None:
        """End it as an operator would."""

    def restart(self) -> None:
        """Start it again, with the data it had."""

    def pause(self) -> None:
        """Let it do nothing at all."""

    def resume(self) -> None:
        """Let it go on."""

    def ctl(self, *arguments: str) -> str:
        """Run ``rabbitmqctl``; return what it prints."""


def troubled(image: str | None) -> "AbstractContextManager[Troubled]":
    """Return a node in a container of this image, or a private one; it runs inside the context."""
    return ContainerRabbitMQ(image) if image else PrivateRabbitMQ()


class ContainerRabbitMQ:
    """A node in a container of this image, which must be there already or be had by a pull."""

    def __init__(self, image: str) -> None:
        self._image = image
        [self._port] = free_ports(1)
        self._engine = docker.from_env()
        self._container: Container | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"amqp://guest:guest@127.0.0.1:{self._port}/"

    @property
    def _running(self) -> Container:
        assert self._container is not None
        return self._container

    def kill(self) -> None:
        """End it as a crash would; see ``Troubled``."""
        self._running.kill()
        self._running.wait()

    def stop(self, *, keep_data: bool = False) -> None:
        """End it as an operator would; see ``Troubled``."""
        self._running.stop(timeout=30)
        if not keep_data:
            self._running.remove(v=True, force=True)

    def restart(self) -> None:
        """Start it again, with the data it had; see ``Troubled``."""
        self._running.start()
        self._wait_until_ready()

    def pause(self) -> None:
        """Let it do nothing at all; see ``Troubled``."""
        self._running.pause()

    def resume(self) -> None:
        """Let it go on; see ``Troubled``."""
        self._running.unpause()

    def ctl(self, *arguments: str) -> str:
        """Run ``rabbitmqctl``; see ``Troubled``."""
        done = self._running.exec_run(["rabbitmqctl", "--quiet", *arguments])
        assert done.exit_code == 0, done.output
        return str(done.output.decode())

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not speaks_amqp("127.0.0.1", self._port):
            assert time.monotonic() < deadline, self._running.logs(tail=20).decode()
            time.sleep(0.1)

    def __enter__(self) -> Self:
        published = {"5672/tcp": ("127.0.0.1", self._port)}
        if not self._engine.images.list(self._image):
            self._engine.images.pull(self._image)
        self._container = self._engine.containers.create(self._image, ports=published)
        try:
            self.restart()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._engine.close()

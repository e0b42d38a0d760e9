"""The services in the test's loop, over a broker in memory, reached through real sockets."""

import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest
import uvloop
from pytest_aiohttp import AiohttpClient

from gateway import membership
from shared import clock
from tests.support.embedded import EmbeddedServer, Place

Start: TypeAlias = Callable[..., Awaitable[Place]]


class Clock:
    """The wall clock of all services; it stands still until it is told otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ms = time.time_ns() // 1_000_000
        still = SimpleNamespace(time_ns=lambda: self.now_ms * 1_000_000)
        monkeypatch.setattr(clock, "time", still)


def pytest_asyncio_loop_factories() -> dict[str, Any]:
    """Run as the service does."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _hear_goodbyes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one loop, and over a broker in memory, every owner hears of a leaving node at once."""
    monkeypatch.setattr(membership, "QUIET_SECONDS", membership.POLL_SECONDS)


@pytest.fixture
def start(aiohttp_client: AiohttpClient) -> Start:
    """Start the services with the given settings."""

    async def start(**settings: Any) -> Place:
        server = EmbeddedServer(**settings)
        return Place(server, await aiohttp_client(server))

    return start


@pytest.fixture
async def place(start: Start) -> Place:
    """The services as they are in development."""
    return await start()

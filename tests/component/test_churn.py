"""Clients that come and go leave nothing in the process (F25)."""

import asyncio
import gc
from pathlib import Path
from typing import Any

from gateway.connection import Connection
from gateway.node import Node
from router.commands import RouterOwner
from tests.support.embedded import Place, until

CYCLES = 500
AT_ONCE = 10
USERS = 25


async def cycle(place: Place, cycles: int) -> None:
    """Connect, subscribe, and go, by turns cleanly and without a word."""

    async def one(number: int) -> None:
        talk = await place.connect(f"user-{number % USERS}")
        await talk.subscribe("churn.#", f"churn.{number}")
        if number % 2:
            wire = talk.socket._response.connection
            assert wire is not None
            assert wire.transport is not None
            wire.transport.abort()
        await talk.close()  # an aborted one, too, or aiohttp counts it as open

    for first in range(0, cycles, AT_ONCE):
        await asyncio.gather(*map(one, range(first, first + AT_ONCE)))


def alive(node: Node) -> int:
    """Return how many connections of a node live, whoever holds them."""
    gc.collect()
    found = (one for one in gc.get_objects() if type(one) is Connection)
    return sum(one._hooks is node.hooks for one in found)


async def held(place: Place) -> dict[str, Any]:
    """Return what there is once all are gone."""
    node = place.server.node
    await until(lambda: not len(node.connections), "all are gone")
    held = [one.table._patterns for one in place.server.router.owners(RouterOwner)]
    await until(lambda: not any(any(each.values()) for each in held), "nobody wants anything")
    return {
        "connections": alive(node),
        "users": len(node.connections._by_user),
        "patterns": len(node.subscriptions._holders),
        "addresses": dict(node.admission._by_address),
        "queues": sorted(place.server.broker._queues),
    }


async def test_whoever_comes_and_goes_leaves_no_task_no_file_and_no_entry(place: Place) -> None:
    def tasks_and_files() -> tuple[int, int]:
        return len(asyncio.all_tasks()), len(list(Path("/proc/self/fd").iterdir()))

    await cycle(place, AT_ONCE)
    before, (tasks, files) = await held(place), tasks_and_files()
    await cycle(place, CYCLES)
    assert await held(place) == before

    def is_back() -> bool:
        now_tasks, now_files = tasks_and_files()
        return now_tasks <= tasks and now_files <= files

    await until(is_back, "tasks and files are as few as before")

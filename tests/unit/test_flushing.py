"""When what was gathered is written: gateway/flushing.py."""

import asyncio
import time

import pytest

from gateway import flushing
from gateway.flushing import Flushing

SLOW_SECONDS = 0.02


class Node:
    """Gathers, and writes what it has gathered; that takes its time."""

    def __init__(self, takes: float) -> None:
        self.flushing = Flushing(self.flush)
        self.gathered = 0
        self.written: list[int] = []
        self._takes = takes

    def gather(self) -> None:
        self.gathered += 1
        self.flushing.due()

    def flush(self) -> None:
        self.written.append(self.gathered)
        self.gathered = 0
        time.sleep(self._takes)

    async def has_written(self, times: int) -> None:
        async with asyncio.timeout(10):
            while len(self.written) < times:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_first_is_written_in_the_next_turn_with_all_that_came_in_this_one():
    node = Node(takes=0)
    for _ in range(3):
        node.gather()
    assert node.written == []

    await turns(1)

    assert node.written == [3]


async def test_what_comes_in_the_rest_is_written_in_one_when_it_is_over(monkeypatch):
    monkeypatch.setattr(flushing, "MOST_REST_SECONDS", SLOW_SECONDS)
    node = Node(takes=SLOW_SECONDS)
    node.gather()
    await node.has_written(1)
    for _ in range(3):
        node.gather()
        await turns(1)
    assert node.written == [1]

    await node.has_written(2)

    assert node.written == [1, 3]


async def test_a_round_that_fails_is_not_the_last(monkeypatch):
    node = Node(takes=0)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: failures.append(context["exception"]))
    failures: list[Exception] = []
    with monkeypatch.context() as patched:
        patched.setattr(node, "written", None)
        node.gather()
        await turns(1)

    node.gather()
    await node.has_written(1)

    assert [type(one) for one in failures] == [AttributeError]
    assert node.written == [2]


async def test_nothing_is_written_when_nothing_has_come():
    node = Node(takes=0)
    node.gather()
    await node.has_written(1)

    await asyncio.sleep(3 * flushing.MOST_REST_SECONDS)
    assert node.written == [1]
    node.gather()
    await node.has_written(2)

    assert node.written == [1, 1]


@pytest.mark.parametrize("most", [0.0, 1.0])
async def test_the_rest_is_as_long_as_writing_took_and_no_longer_than_a_bound(monkeypatch, most):
    monkeypatch.setattr(flushing, "MOST_REST_SECONDS", most)
    loop, rests = asyncio.get_running_loop(), []
    monkeypatch.setattr(loop, "call_later", lambda delay, _call: rests.append(delay))
    node = Node(takes=SLOW_SECONDS)
    node.gather()
    await node.has_written(1)

    await turns(2)

    [rest] = rests
    assert min(most, SLOW_SECONDS) <= rest <= most

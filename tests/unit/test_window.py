"""How much of a connection may be under way: gateway/window.py."""

import asyncio

from gateway.window import Window


async def entering(window: Window, size: int) -> "asyncio.Task[None]":
    """Have a command of some size enter; return once it has or waits."""
    task = asyncio.create_task(window.enter(size))
    await asyncio.sleep(0)
    return task


async def test_so_many_commands_enter_and_the_next_once_one_has_left():
    window = Window(2, 100)
    for _ in range(2):
        assert (await entering(window, 1)).done()
    third = await entering(window, 1)
    assert not third.done()
    window.leave(1)
    await third


async def test_no_more_bytes_are_under_way_than_there_is_room_for():
    window = Window(64, 100)
    assert (await entering(window, 60)).done()
    second = await entering(window, 60)
    assert not second.done()
    window.leave(60)
    await second


async def test_one_that_is_larger_than_the_room_enters_alone():
    window = Window(64, 100)
    assert (await entering(window, 10)).done()
    large = await entering(window, 1000)
    assert not large.done()
    window.leave(10)
    await large
    small = await entering(window, 1)
    assert not small.done()
    window.leave(1000)
    await small

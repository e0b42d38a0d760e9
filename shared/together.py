"""Several things at once."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

Result = TypeVar("Result")


async def together(works: Sequence[Awaitable[Result]]) -> list[Result]:
    """Do these at once, begun in this order; return what comes of each. One alone needs no task."""
    if len(works) == 1:
        return [await works[0]]
    return await asyncio.gather(*works)


async def all_there(queue: "asyncio.Queue[Result]") -> list[Result]:
    """Wait for a queue's next item; return all that are there."""
    items = [await queue.get()]
    while not queue.empty():
        items.append(queue.get_nowait())
    return items

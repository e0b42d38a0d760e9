"""A task that is told to end ends: shared/cancellation.py."""

import asyncio

import pytest

from shared.cancellation import heed_cancellation
from shared.errors import BrokerUnavailable


async def fail_when(told: asyncio.Event) -> None:
    await told.wait()
    raise BrokerUnavailable


@pytest.mark.parametrize(("heeds", "ends"), [(True, True), (False, False)])
async def test_a_loop_ends_though_a_failure_has_displaced_its_cancellation(heeds, ends):
    told, rounds = asyncio.Event(), 0

    async def loop_for_ever() -> None:
        nonlocal rounds
        while rounds < 2:
            rounds += 1
            try:
                await asyncio.gather(fail_when(told), asyncio.sleep(60))
            except BrokerUnavailable:
                if heeds:
                    heed_cancellation()

    task = asyncio.create_task(loop_for_ever())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    told.set()
    await asyncio.sleep(0)  # one has failed, and who waits for both has not heard of it
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    assert task.cancelled() is ends
    assert (rounds == 1) is ends


async def test_a_group_that_fails_in_a_task_of_its_own_tells_nobody_to_end():
    async def fail() -> None:
        await asyncio.sleep(0)
        raise BrokerUnavailable

    async def run_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    with pytest.raises(ExceptionGroup, match="unhandled"):
        await asyncio.create_task(run_group())
    heed_cancellation()


async def test_who_was_not_told_to_end_goes_on():
    heed_cancellation()

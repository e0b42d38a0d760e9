"""What every process tells of itself: shared/process/metrics.py."""

import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry

from shared.broker.memory import MemoryBroker
from shared.process import metrics
from shared.process.metrics import measured


async def test_the_lag_is_how_long_others_have_kept_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "LAG_INTERVAL_SECONDS", 0.001)
    registry = CollectorRegistry()

    def lag() -> float:
        return registry.get_sample_value("realtime_event_loop_lag_seconds_sum") or 0.0

    async with measured(registry, MemoryBroker()):
        await asyncio.sleep(0)  # it sleeps
        time.sleep(0.05)  # noqa: ASYNC251 - what a loop should not be done
        async with asyncio.timeout(10):
            while not lag():  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0)
    assert lag() >= 0.05 - 0.001


async def test_measuring_ends_with_the_context() -> None:
    before = asyncio.all_tasks()
    async with measured(CollectorRegistry(), MemoryBroker()):
        assert len(asyncio.all_tasks() - before) == 1
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before

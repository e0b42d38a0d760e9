"""What every process tells of itself, whatever it serves."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, Gauge, Histogram, Info, ProcessCollector

from shared.broker.ports import Broker
from shared.release import RELEASE

BATCH_ITEMS = (1, 2, 5, 10, 20, 50, 100)
ANSWER_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""A command is answered within 5 s (R1); one that waits for its turn may take longer."""

AGE_SECONDS = (*ANSWER_SECONDS, 30, 60)
"""What a gateway has died with is delivered when its queue has given it up, after 30 s."""

LAG_INTERVAL_SECONDS = 0.25
LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


def gauge(registry: CollectorRegistry, name: str, text: str, read: Callable[[], float]) -> None:
    """Register a gauge whose value is looked up whenever metrics are read."""
    Gauge(name, text, registry=registry).set_function(read)


@asynccontextmanager
async def measured(registry: CollectorRegistry, broker: Broker) -> AsyncIterator[None]:
    """Measure the process for as long as the context lasts; once for a registry."""
    ProcessCollector(registry=registry)
    Info("realtime_build", "The release that runs", registry=registry).info({"version": RELEASE})
    connected = "Whether a connection to the broker is open"
    gauge(registry, "realtime_broker_connected", connected, lambda: broker.is_connected)
    blocked = "Whether the broker takes nothing, for want of memory or disk"
    gauge(registry, "realtime_broker_blocked", blocked, lambda: broker.is_blocked)
    lag = Histogram(
        "realtime_event_loop_lag_seconds",
        f"How late the event loop comes to what is due, every {LAG_INTERVAL_SECONDS} s",
        buckets=LAG_SECONDS,
        registry=registry,
    )
    measuring = asyncio.create_task(_measure_lag(lag))
    try:
        yield
    finally:
        measuring.cancel()


async def _measure_lag(lag: Histogram) -> None:
    while True:
        due = time.monotonic() + LAG_INTERVAL_SECONDS
        await asyncio.sleep(LAG_INTERVAL_SECONDS)
        lag.observe(max(0.0, time.monotonic() - due))

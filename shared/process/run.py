"""Runs a process: settings, logs, uvloop, the admin port, signals, aiomonitor."""

import asyncio
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
import uvloop
from prometheus_client import CollectorRegistry

from shared.broker.ports import Broker
from shared.process import logs
from shared.process.admin import Pages, admin_server
from shared.process.metrics import measured
from shared.process.monitor import Inspections, monitor
from shared.process.tracing import tracing
from shared.settings import Settings, WrongSettings, load, unknown
from shared.trail import Trail

log = structlog.get_logger()

STOP_SECONDS = 10.0
TELL_SECONDS = 1.0
TELLINGS = 5
"""How often tasks that are left in the end are told to end."""

NOT_ENDED = 3
"""The exit status of a process that some of its tasks would have kept for ever."""


@dataclass(frozen=True)
class Service:
    """A service that is running."""

    ready: Callable[[], bool]
    running: "asyncio.Future[None]"
    """Never ends unless the service fails."""

    broker: Broker
    pages: Pages | None = None
    """What it adds to the admin port."""

    inspections: Inspections = field(default_factory=dict)
    """What it adds to aiomonitor."""

    drain: Callable[[], Awaitable[None]] | None = None
    """What it does before it stops, when it no longer says that it is ready."""


Serve = Callable[[Settings, CollectorRegistry, Trail], AbstractAsyncContextManager[Service]]
"""A context in which a service runs."""


def run(name: str, serve: Serve, *, for_clients: bool = False, **given: Any) -> None:
    """Run a service until SIGINT or SIGTERM; ``given`` settings go before the environment.

    Log lines bear its name. ``for_clients`` is that of ``load``.

    Wrong settings are printed, all at once, and end the process with status 2; tasks that do not
    heed that they are to end, with status 3.
    """
    try:
        settings = load(for_clients=for_clients, **given)
        logs.configure(settings, name)
        for variable, nearest in unknown().items():
            log.warning("unknown setting", action="ignore", variable=variable, nearest=nearest)
        gc.set_threshold(20_000, 50, 100)
        _allow_open_files()
        with tracing(settings, name) as tracer:
            trail = Trail(name, settings.node_id, time.time_ns, tracer)
            uvloop.run(_main(serve, settings, trail))
    except WrongSettings as error:
        print(f"The settings are wrong:\n{error}", file=sys.stderr)  # noqa: T201 - no log line
        sys.exit(2)


def _allow_open_files() -> None:
    """Allow as many open files as the system lets a process have: each client is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _main(serve: Serve, settings: Settings, trail: Trail) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    registry = CollectorRegistry()
    async with nothing_left(), serve(settings, registry, trail) as service:

        def ready() -> bool:
            return service.ready() and not stop.is_set()

        with monitor(settings, loop, service.inspections):
            async with (
                measured(registry, service.broker),
                admin_server(settings, registry, ready, service.pages),
            ):
                await _until(stop, service.running)
                log.info("stopping", action="stop")
                if service.drain is not None:
                    await service.drain()


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """At the end, end all other tasks there are; if some do not heed it, end the process.

    ``asyncio.run`` tells each once, and waits without limit. But a library's task may well wait
    again in its own ``finally``, for a peer that does not answer.
    """
    try:
        yield
    finally:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for telling in range(TELLINGS):
            if not left:
                break
            if telling:
                log.warning("tasks do not end", action="stop", tasks=[repr(one) for one in left])
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=TELL_SECONDS)
        if left:
            tasks = [repr(one) for one in left]
            log.error("ended by force", action="stop", tasks=tasks, exc_info=sys.exception())
            os._exit(NOT_ENDED)


async def _until(stop: asyncio.Event, running: "asyncio.Future[None]") -> None:
    """Wait for a signal; a service that ends by itself has failed, and its error is raised."""
    stopped = asyncio.ensure_future(stop.wait())
    either: set[asyncio.Future[Any]] = {running, stopped}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if running.done():
        running.result()


@asynccontextmanager
async def background(work: Coroutine[Any, Any, None]) -> AsyncIterator["asyncio.Future[None]"]:
    """Run something until the end of the context; yield its future."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=STOP_SECONDS)

"""Runs a process: settings, logs, uvloop, the admin port, signals, aiomonitor."""

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import structlog
import uvloop
from prometheus_client import CollectorRegistry

from shared.process import logs
from shared.process.admin import admin_server
from shared.settings import Settings, WrongSettings, load

log = structlog.get_logger()

STOP_SECONDS = 10.0

Ready = Callable[[], bool]
Serve = Callable[
    [Settings, CollectorRegistry], AbstractAsyncContextManager[tuple[Ready, Awaitable[None]]]
]
"""A context that starts a service and yields whether it is ready, and what runs until it fails."""


def run(serve: Serve, **given: Any) -> None:
    """Run a service until SIGINT or SIGTERM; ``given`` settings go before the environment.

    Wrong settings are printed, all at once, and end the process with status 2.
    """
    try:
        settings = load(**given)
    except WrongSettings as error:
        print(f"The settings are wrong:\n{error}", file=sys.stderr)  # noqa: T201 - no log yet
        sys.exit(2)
    logs.configure(settings)
    gc.set_threshold(20_000, 50, 100)
    uvloop.run(_main(serve, settings))


async def _main(serve: Serve, settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    registry = CollectorRegistry()
    with _monitor(settings, loop):
        async with serve(settings, registry) as (ready, running):
            async with admin_server(settings, registry, ready):
                await _until_stopped(stop, running)
            log.info("stopping", action="stop")


async def _until_stopped(stop: asyncio.Event, running: Awaitable[None]) -> None:
    """Wait for a signal; a service that ends by itself has failed, and its error is raised."""
    service = asyncio.ensure_future(running)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({service, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if service.done():
            service.result()
    finally:
        for task in (service, stopped):
            task.cancel()
        await asyncio.wait({service, stopped}, timeout=STOP_SECONDS)


def _monitor(
    settings: Settings, loop: asyncio.AbstractEventLoop
) -> contextlib.AbstractContextManager[Any]:
    if not settings.aiomonitor:
        return contextlib.nullcontext()
    import aiomonitor  # noqa: PLC0415 - only who asks for it pays for it

    console = settings.mode != "production"  # it runs whatever is typed
    monitor: contextlib.AbstractContextManager[Any] = aiomonitor.Monitor(
        loop, host="127.0.0.1", console_enabled=console
    )
    return monitor

"""The admin port: /livez, /readyz, /metrics, and what a service adds."""

import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from shared.settings import Settings

log = structlog.get_logger()

FIRST_PORT = 9081
CLEANUP_SECONDS = 2.0
"""For handlers of requests to end, when the process stops."""

MAX_BODY_BYTES = 262_144
"""Of one request, here and on the port for clients."""

PORTS_TRIED = 200


Pages = Callable[[web.Application], None]
"""Adds pages of a service's own."""


@asynccontextmanager
async def admin_server(
    settings: Settings,
    registry: CollectorRegistry,
    ready: Callable[[], bool],
    more: Pages | None = None,
) -> AsyncIterator[int]:
    """Serve health and metrics, and more pages; yield the port.

    Raises:
        OSError: the port of ``REALTIME_ADMIN_PORT``, or every one tried, is taken.
    """
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    pages = _Pages(registry, ready)
    app.router.add_get("/livez", pages.live)
    app.router.add_get("/readyz", pages.ready)
    app.router.add_get("/metrics", pages.metrics)
    if more is not None:
        more(app)
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=10, shutdown_timeout=CLEANUP_SECONDS
    )
    await runner.setup()
    try:
        port = await _listen(runner, settings)
        log.info("admin port", action="listen", url=f"http://{settings.admin_host}:{port}")
        yield port
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: Settings) -> int:
    fixed = settings.admin_port
    first = FIRST_PORT if fixed is None else fixed
    for port in range(first, first + (PORTS_TRIED if fixed is None else 1)):
        try:
            listener = _listener(settings.admin_host, port)
        except OSError as error:
            if fixed is not None or error.errno != errno.EADDRINUSE:
                raise
        else:
            await web.SockSite(runner, listener).start()
            return int(listener.getsockname()[1])
    raise OSError(errno.EADDRINUSE, f"no free admin port from {FIRST_PORT}")


def _listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Not by uvloop: if two processes bind a port at once, the one that listens second would get a
    server without a socket there, and no error.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


@dataclass
class _Pages:
    registry: CollectorRegistry
    is_ready: Callable[[], bool]

    async def live(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(self, _request: web.Request) -> web.Response:
        if self.is_ready():
            return web.Response(text="ready\n")
        return web.Response(status=503, text="not ready\n")

    async def metrics(self, _request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

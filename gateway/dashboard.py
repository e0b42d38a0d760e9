"""The dashboard on the admin port: a page, and the state of the cluster that it shows."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from importlib import resources

import msgspec
import structlog
from aiohttp import web

from gateway.core.dashboard import Past, State, gateways, replicas
from gateway.node import Node
from shared.broker.listening import listen
from shared.errors import BrokerUnavailable
from shared.overview import Overview

log = structlog.get_logger()

LINGER_SECONDS = 300.0
"""For so long it goes on listening when nobody looks, so that whoever comes back finds plots."""

SAMPLE_SECONDS = 1.0
SILENT_SECONDS = 4.0
"""Everybody speaks once a second, this gateway too: then it is RabbitMQ that is not there."""

FILES = {
    "/dashboard": ("dashboard.html", "text/html"),
    "/dashboard/dashboard.css": ("dashboard.css", "text/css"),
    "/dashboard/dashboard.js": ("dashboard.js", "text/javascript"),
}

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


Handler = Callable[[web.Request], Awaitable[web.Response]]


def add_dashboard(app: web.Application, node: Node) -> None:
    """Serve the page and its state; what listens for it ends with the application."""
    dashboard = Dashboard(node)
    for path, (name, kind) in FILES.items():
        app.router.add_get(path, _constant(name, kind))
    app.router.add_get("/dashboard/state", dashboard.answer)
    app.on_cleanup.append(dashboard.stop)


def _constant(name: str, kind: str) -> Handler:
    text = resources.files("gateway").joinpath("pages", name).read_text(encoding="utf-8")

    async def handle(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type=kind, headers=HEADERS)

    return handle


class Dashboard:
    """Listens to the cluster while somebody looks, and remembers the last minutes."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._overview = Overview()
        self._past = Past()
        self._looked_at = 0.0
        self._watching: asyncio.Task[None] | None = None

    @property
    def listens(self) -> bool:
        """Whether it has, or tries to have, a connection to the broker of its own."""
        return self._watching is not None and not self._watching.done()

    async def answer(self, _: web.Request) -> web.Response:
        """Return the state as JSON; begin to listen if nobody has looked lately."""
        self._looked_at = time.monotonic()
        if not self.listens:
            self._watching = asyncio.create_task(self._watch())
        body = msgspec.json.encode(self._state(time.monotonic()))
        return web.Response(body=body, content_type="application/json", headers=HEADERS)

    async def stop(self, _: web.Application) -> None:
        """Listen no more."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

    def _state(self, now: float) -> State:
        processes = self._overview.processes(now)
        return State(
            self._node.settings.node_id,
            self._node.settings.partitions,
            round(now, 2),
            self._heard(now),
            gateways(processes, now),
            replicas(processes, now),
            self._past.lately(now),
        )

    def _heard(self, now: float) -> bool:
        return any(now - one.seen_at < SILENT_SECONDS for one in self._overview.processes(now))

    async def _watch(self) -> None:
        listening = asyncio.create_task(self._listen())
        try:
            while time.monotonic() - self._looked_at < LINGER_SECONDS:
                await asyncio.sleep(SAMPLE_SECONDS)
                now = time.monotonic()
                if self._heard(now):
                    self._past.note(self._overview.processes(now), now)
        finally:
            listening.cancel()
            await asyncio.wait({listening})

    async def _listen(self) -> None:
        while True:
            try:
                await listen(self._node.broker, self._overview)
            except BrokerUnavailable as error:
                log.debug("cluster not heard", action="listen", error=str(error))
            await asyncio.sleep(SAMPLE_SECONDS)

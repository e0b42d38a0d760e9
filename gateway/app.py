"""Wires the gateway; the one place that knows all its parts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from gateway.answers import Answers
from gateway.api.server import add_api
from gateway.compression import agree
from gateway.connection import Connection, Hooks
from gateway.core.connections import Connections
from gateway.core.mint import Mint
from gateway.core.subscriptions import Subscriptions
from gateway.dashboard import add_dashboard
from gateway.directs import Directs
from gateway.door import Door
from gateway.downlink import Downlink
from gateway.drain import Drain
from gateway.fanout import Fanout
from gateway.flushing import Flushing
from gateway.gauges import watch
from gateway.keys import make_keys
from gateway.limits import make_admission, make_limits
from gateway.membership import Membership
from gateway.metrics import Metrics
from gateway.node import Node
from gateway.questions import Questions
from gateway.receipts import Receipts
from gateway.slow_readers import SlowReaders
from gateway.tls import HANDSHAKE_SECONDS, SHUTDOWN_SECONDS, make_certificate
from gateway.tokens import TokenVerifier
from gateway.uplink import Uplink
from gateway.websocket import NODE, websocket
from shared.broker.batching import Packer
from shared.broker.ports import Broker
from shared.clock import wall_clock_ms
from shared.messages import frames
from shared.process.admin import MAX_BODY_BYTES, Pages
from shared.settings import Settings
from shared.trail import Trail

log = structlog.get_logger()

CLEANUP_SECONDS = 5.0
"""For handlers of requests to end, when every WebSocket has been closed."""


@dataclass(frozen=True)
class Listening:
    """Where clients are served, and what sends them away."""

    port: int
    drain: Drain


def make_node(
    settings: Settings, broker: Broker, registry: CollectorRegistry, trail: Trail
) -> Node:
    """Return a gateway that is ready to run."""
    subscriptions: Subscriptions[Connection] = Subscriptions()
    connections: Connections[Connection] = Connections()
    metrics = Metrics(registry)
    limits = make_limits(settings)
    keys = make_keys(settings, metrics.key_fetches)
    uplink = Uplink(settings.partitions, metrics.batch_sent, trail)
    answers = Answers()
    packer = Packer(dropped=metrics.receipts_dropped.inc)
    receipts = Receipts(answers, packer)
    directs = Directs(settings.node_id, connections, uplink, receipts, metrics, trail)
    fanout = Fanout(subscriptions, connections, metrics)
    downlink = Downlink(
        settings.node_id,
        fanout,
        Flushing(fanout.flush),
        directs,
        answers,
        uplink,
        receipts,
        metrics,
        trail,
    )
    membership = Membership(
        broker,
        settings.node_id,
        uplink,
        downlink,
        packer,
        metrics,
        subscriptions,
        connections,
        trail,
        limits.users,
    )
    watch(registry, connections, uplink, membership)
    return Node(
        settings,
        broker,
        keys,
        TokenVerifier(settings, keys),
        make_certificate(settings),
        make_admission(settings),
        asyncio.Lock(),
        limits,
        subscriptions,
        connections,
        Hooks(directs.lapsed, metrics.sent_bytes.inc, fanout.catch_up),
        uplink,
        fanout,
        directs,
        answers,
        membership,
        Questions(membership, uplink, answers),
        metrics,
        Mint(),
        trail,
    )


def admin_pages(node: Node) -> Pages:
    """Return what adds the dashboard to the admin port, and the API if it is to be there."""

    def add(app: web.Application) -> None:
        add_dashboard(app, node)
        if node.settings.api == "admin":
            add_api(app, node)

    return add


@asynccontextmanager
async def listening(node: Node) -> AsyncIterator[Listening]:
    """Serve clients on ``REALTIME_PORT``. At the end those who are left are sent away at once."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app[NODE] = node
    app.router.add_get("/ws", websocket)
    if node.settings.compression:
        app.on_response_prepare.append(agree)
    if node.settings.api == "public":
        add_api(app, node)
    # No access log: its request line would hold tokens (S1 lets them travel in the query).
    # No keep-alives of TCP: heartbeats, and the time-out of HTTP's, are sooner.
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=10,
        tcp_keepalive=False,
        shutdown_timeout=CLEANUP_SECONDS,
    )
    await runner.setup()
    try:
        listener = await _listen(runner, node)
        drain = Drain(node, listener.close)
        port = int(listener.sockets[0].getsockname()[1])
        log.info(
            "clients",
            action="listen",
            host=node.settings.host,
            port=port,
            tls=node.certificate is not None,
        )
        try:
            yield Listening(port, drain)
        finally:
            await drain.run(window=0)
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, node: Node) -> asyncio.Server:
    """Accept sockets, each through a door of its own."""
    if (server := runner.server) is None:
        raise RuntimeError("The runner is not set up")
    return await asyncio.get_running_loop().create_server(
        lambda: Door(server(), node.admission, node.metrics),
        node.settings.host,
        node.settings.port,
        backlog=1024,
        **_secured(node),
    )


def _secured(node: Node) -> dict[str, Any]:
    if node.certificate is None:
        return {}
    return {
        "ssl": node.certificate.context,
        "ssl_handshake_timeout": HANDSHAKE_SECONDS,
        "ssl_shutdown_timeout": SHUTDOWN_SECONDS,
    }


async def run_node(node: Node) -> None:
    """Be a member of the cluster, for ever.

    Raises:
        Superseded: another process has taken this node's id.
    """
    async with asyncio.TaskGroup() as group:
        group.create_task(node.membership.run())
        if node.certificate is not None:
            group.create_task(node.certificate.run())
        group.create_task(node.keys.run())
        group.create_task(SlowReaders(node.connections).run())
        if node.settings.json_ping_seconds:
            group.create_task(_ping(node, node.settings.json_ping_seconds))


async def _ping(node: Node, seconds: int) -> None:
    while True:
        await asyncio.sleep(seconds)
        frame = frames.ping(wall_clock_ms())
        for connection in node.connections:
            if connection.welcomed:
                connection.reply([frame])

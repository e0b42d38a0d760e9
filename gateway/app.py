"""Wires the gateway; the one place that knows all its parts."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from gateway.answers import Answers
from gateway.api.server import add_api
from gateway.connection import Connection
from gateway.core.connections import Connections
from gateway.core.mint import Mint
from gateway.core.subscriptions import Subscriptions
from gateway.directs import Directs
from gateway.downlink import Downlink
from gateway.fanout import Fanout
from gateway.membership import Membership
from gateway.metrics import Metrics
from gateway.node import Node
from gateway.questions import Questions
from gateway.tokens import TokenVerifier
from gateway.uplink import Uplink
from gateway.websocket import NODE, websocket
from shared.broker.batching import Packer
from shared.broker.ports import Broker
from shared.clock import wall_clock_ms
from shared.errors import GoingAway
from shared.messages import frames
from shared.process.admin import MAX_BODY_BYTES, Pages
from shared.settings import Settings

log = structlog.get_logger()

DRAIN_SECONDS = 5.0
RECONNECT_SPREAD_MS = 5000


def make_node(settings: Settings, broker: Broker, registry: CollectorRegistry) -> Node:
    """Return a gateway that is ready to run."""
    subscriptions: Subscriptions[Connection] = Subscriptions()
    connections: Connections[Connection] = Connections()
    metrics = Metrics(registry, lambda: len(connections))
    uplink = Uplink(settings.partitions)
    answers = Answers()
    receipts = Packer(dropped=metrics.receipts_dropped.inc)
    directs = Directs(settings.node_id, connections, uplink, receipts, metrics)
    fanout = Fanout(subscriptions, connections, metrics)
    downlink = Downlink(settings.node_id, fanout, directs, answers, uplink, receipts, metrics)
    membership = Membership(
        broker, settings.node_id, uplink, downlink, receipts, metrics, subscriptions, connections
    )
    return Node(
        settings,
        broker,
        TokenVerifier(settings),
        subscriptions,
        connections,
        uplink,
        fanout,
        directs,
        answers,
        membership,
        Questions(membership, uplink, answers),
        metrics,
        Mint(),
    )


def admin_pages(node: Node) -> Pages | None:
    """Return what adds the API to the admin port, if that is where it is to be."""
    return (lambda app: add_api(app, node)) if node.settings.api == "admin" else None


@asynccontextmanager
async def listening(node: Node) -> AsyncIterator[int]:
    """Serve clients on ``REALTIME_PORT``; yield the port. At the end every client is sent away."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app[NODE] = node
    app.router.add_get("/ws", websocket)
    if node.settings.api == "public":
        add_api(app, node)
    # No access log: its request line would hold tokens (S1 lets them travel in the query).
    runner = web.AppRunner(
        app, access_log=None, keepalive_timeout=10, shutdown_timeout=DRAIN_SECONDS
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, node.settings.host, node.settings.port, backlog=1024)
        await site.start()
        port = int(runner.addresses[0][1])
        log.info("clients", action="listen", host=node.settings.host, port=port)
        yield port
    finally:
        for listener in list(runner.sites):
            await listener.stop()
        await _send_away(node)
        await node.membership.leave()
        await runner.cleanup()


async def _send_away(node: Node) -> None:
    """End every conversation; tell the clients to come back at different moments (S5)."""
    for connection in node.connections:
        connection.end(GoingAway(reconnect_after_ms=random.randrange(RECONNECT_SPREAD_MS)))  # noqa: S311
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while len(node.connections):  # noqa: ASYNC110 - bounded, and only at the end
                await asyncio.sleep(0.02)


async def run_node(node: Node) -> None:
    """Be a member of the cluster, for ever.

    Raises:
        Superseded: another process has taken this node's id.
    """
    async with asyncio.TaskGroup() as group:
        group.create_task(node.membership.run())
        if node.settings.json_ping_seconds:
            group.create_task(_ping(node, node.settings.json_ping_seconds))


async def _ping(node: Node, seconds: int) -> None:
    while True:
        await asyncio.sleep(seconds)
        frame = frames.ping(wall_clock_ms())
        for connection in node.connections:
            if connection.welcomed:
                connection.reply([frame])

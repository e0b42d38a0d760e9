"""A clean stop: one client after another is sent to other nodes, while the rest are served.

    not ready -> no new clients -> 1012 closes, paced -> what is left handed back -> goodbye

Presence is told once, by the goodbye: who has come back elsewhere by then was never away.
"""

import asyncio
import random
import time
from collections.abc import Callable

import structlog

from gateway.core.pace import pace, spread_ms
from gateway.node import Node
from shared.errors import GoingAway

log = structlog.get_logger()

LAST_SECONDS = 5.0
"""For the last clients to go by themselves."""

POLL_SECONDS = 0.02


class Drain:
    """Empties a node, once; ``stop_listening`` lets no more clients in."""

    def __init__(self, node: Node, stop_listening: Callable[[], object]) -> None:
        self._node = node
        self._stop_listening = stop_listening
        self._begun = False

    async def run(self, window: float) -> None:
        """Close every connection within ``window`` seconds, then leave the cluster."""
        if self._begun:
            return
        self._begun = self._node.membership.draining = True
        connections = self._node.connections
        log.info("draining", action="drain", connections=len(connections), seconds=window)
        self._stop_listening()
        await self._send_away(window)
        deadline = time.monotonic() + LAST_SECONDS
        while len(connections) and time.monotonic() < deadline:
            for connection in connections:  # whose upgrade was under way
                connection.end(_going_away(spread_ms(window)))
            await asyncio.sleep(POLL_SECONDS)
        await self._node.membership.leave()
        log.info("drained", action="drain", connections=len(connections))

    async def _send_away(self, window: float) -> None:
        connections = list(self._node.connections)
        apart, within_ms = pace(len(connections), window), spread_ms(window)
        began = time.monotonic()
        for number, connection in enumerate(connections):
            early = began + number * apart - time.monotonic()
            if early > 0:
                await asyncio.sleep(early)
            connection.end(_going_away(within_ms))


def _going_away(within_ms: int) -> GoingAway:
    return GoingAway(reconnect_after_ms=random.randrange(within_ms))  # noqa: S311 - no secret

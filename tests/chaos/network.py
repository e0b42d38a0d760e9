"""The links between the nodes of one RabbitMQ, each of which can fall silent.

Each node has an epmd of its own, which tells it where its peers are. There every peer is registered
at the port of a proxy, so that each link passes through two of them: one for whoever of its two
ends has called.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, ExitStack
from itertools import permutations
from typing import Any, Self, TypeVar

from standalone.private_rabbitmq import PrivateRabbitMQ
from tests.chaos.proxy import Proxy
from tests.chaos.shapes import Cut, link
from tests.support.cluster import free_ports

CALL_SECONDS = 10.0

Result = TypeVar("Result")

# The first message to epmd, and its answers: "Distribution Protocol" in Erlang's manual.
ALIVE2_REQ = 120
ALIVE2_RESP = 121
ALIVE2_X_RESP = 118
NORMAL_NODE = 77
VERSION = 6, 5
"""The highest and the lowest of the distribution protocol that the nodes speak."""


class Network:
    """All links between some nodes that run already. A loop in a thread of its own carries them."""

    def __init__(self, nodes: Sequence[PrivateRabbitMQ]) -> None:
        self._nodes = nodes
        self._loop = asyncio.new_event_loop()
        self._wires: dict[tuple[str, str], Proxy] = {}

    def partition(self, cut: Cut) -> None:
        """Let nothing pass on these links, and tell nobody; all others are good."""
        self._call(self._apply(cut))

    def heal(self) -> None:
        """Let everything pass."""
        self.partition(frozenset())

    async def _apply(self, cut: Cut) -> None:
        for (caller, called), wire in self._wires.items():
            if link(caller, called) in cut:
                wire.fall_silent()
            else:
                wire.heal()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self._loop.close)
            self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
            self._thread.start()
            stack.callback(self._thread.join)
            stack.callback(self._loop.call_soon_threadsafe, self._loop.stop)
            self._call(self._lay())
            stack.callback(lambda: self._call(self._wired.aclose()))
            for (caller, called), wire in self._wires.items():
                known = register(self._epmd(caller), called.partition("@")[0], wire.port)
                stack.enter_context(known)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    async def _lay(self) -> None:
        async with AsyncExitStack() as stack:
            pairs = list(permutations(self._nodes, 2))
            for (caller, called), port in zip(pairs, free_ports(len(pairs)), strict=True):
                wire = Proxy(port, called.distribution_port)
                self._wires[caller.name, called.name] = await stack.enter_async_context(wire)
            self._wired = stack.pop_all()

    def _epmd(self, name: str) -> int:
        return next(node.epmd_port for node in self._nodes if node.name == name)

    def _call(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)


def register(epmd: int, name: str, port: int) -> socket.socket:
    """Have an epmd tell that a node listens on this port, for as long as the socket is open."""
    encoded = name.encode()
    request = struct.pack(
        f">BHBBHHH{len(encoded)}sH",
        *(ALIVE2_REQ, port, NORMAL_NODE, 0, *VERSION, len(encoded), encoded, 0),
    )
    wire = socket.create_connection(("127.0.0.1", epmd), timeout=CALL_SECONDS)
    wire.sendall(struct.pack(">H", len(request)) + request)
    kind, refused = wire.recv(2)
    if kind not in {ALIVE2_RESP, ALIVE2_X_RESP} or refused:
        wire.close()
        raise RuntimeError(f"epmd does not take {name}")
    return wire

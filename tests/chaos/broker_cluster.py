"""Three private RabbitMQ nodes that are one, and can be parted from each other."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Self

from standalone.private_rabbitmq import PrivateRabbitMQ
from tests.chaos.network import Network
from tests.chaos.shapes import Cut, link

NODES = 3
TICK_SECONDS = 5
"""After so long without a word a node gives another up, more or less a quarter."""

WHOLE_SECONDS = 120.0
"""So long nodes may take to find each other again, and to start what they had stopped."""

SETTINGS = ("cluster_partition_handling = pause_minority",)


class PrivateBrokerCluster:
    """Its nodes, joined, and the network between them. A minority of them stops serving."""

    def __init__(self) -> None:
        cookie, ticks = secrets.token_hex(8), f"-kernel net_ticktime {TICK_SECONDS}"
        self.nodes = [
            PrivateRabbitMQ(cookie=cookie, settings=SETTINGS, erlang=[ticks]) for _ in range(NODES)
        ]
        self.network = Network(self.nodes)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for node in self.nodes:
                stack.callback(node.stop)
            with ThreadPoolExecutor() as starting:
                list(starting.map(PrivateRabbitMQ.start, self.nodes))
            stack.enter_context(self.network)
            first, *others = self.nodes
            for node in others:
                node.ctl("stop_app")
                node.ctl("join_cluster", first.name)
                node.ctl("start_app")
            self.wait_until_whole()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def peers(self, node: PrivateRabbitMQ) -> set[str]:
        """Return the names of the nodes that a node is connected with, itself left out."""
        told = node.ctl("eval", "nodes().")
        return {one.name for one in self.nodes if one.name in told}

    def seen_cut(self) -> Cut:
        """Return the links at one end of which at least the other node is not seen."""
        names = {node.name for node in self.nodes}
        return frozenset(
            link(node.name, unseen)
            for node in self.nodes
            for unseen in names - {node.name} - self.peers(node)
        )

    def serving(self) -> list[PrivateRabbitMQ]:
        """Return the nodes that take connections now; when parted, a minority does not."""
        return [node for node in self.nodes if node.serves]

    def wait_until_whole(self) -> None:
        """Wait until every node serves, and sees every other.

        Raises:
            RuntimeError: that took too long.
        """
        deadline = time.monotonic() + WHOLE_SECONDS
        while not self._whole():
            if time.monotonic() > deadline:
                raise RuntimeError(f"RabbitMQ was not whole again within {WHOLE_SECONDS:.0f} s")
            time.sleep(0.5)

    def _whole(self) -> bool:
        return len(self.serving()) == NODES and not self.seen_cut()

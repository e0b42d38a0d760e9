"""What an operator may ask a running gateway."""

import time
from collections.abc import Iterator

from gateway.node import Node
from shared.process.monitor import Inspection, Inspections


def inspections(node: Node) -> Inspections:
    """Return the questions about connections and what they want."""

    def connections() -> Iterator[tuple[object, ...]]:
        now = time.monotonic()
        for one in node.connections:
            patterns = len(one.session.patterns)
            yield one.id, one.user_id, f"{now - one.opened_at:.0f} s", patterns, one.held_back

    def subscriptions(connection_id: str) -> Iterator[tuple[object, ...]]:
        connection = node.connections.get(connection_id)
        if connection is None:
            raise ValueError(f"No such connection here: {connection_id}")
        now = time.monotonic()
        for pattern, held in connection.session.patterns.items():
            yield pattern, f"{now - held.at:.0f} s", "yes" if held.confirmed else "no"

    return {
        "connections": Inspection(
            "Connections: whose, since when, patterns, and bytes that the client has yet to read.",
            ("CONNECTION", "USER", "FOR", "PATTERNS", "HELD BACK"),
            connections,
        ),
        "subscriptions": Inspection(
            "Patterns of CONNECTION, and whether the cluster has confirmed them.",
            ("PATTERN", "FOR", "CONFIRMED"),
            subscriptions,
            argument="CONNECTION",
        ),
        "interest": Inspection(
            "Patterns that the node wants, and for how many connections.",
            ("PATTERN", "CONNECTIONS"),
            node.subscriptions.counts,
        ),
    }

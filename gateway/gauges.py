"""What is looked up in a gateway whenever its metrics are read."""

from prometheus_client import CollectorRegistry

from gateway.connection import Connection
from gateway.core.connections import Connections
from gateway.membership import Membership
from gateway.uplink import Uplink
from shared.process.metrics import gauge


def watch(
    registry: CollectorRegistry,
    connections: Connections[Connection],
    uplink: Uplink,
    membership: Membership,
) -> None:
    """Register the gauges of a gateway."""

    def outbox_bytes() -> int:
        return sum(one.held_back for one in connections)

    for name, text, read in (
        ("connections", "Open WebSockets", connections.__len__),
        ("outbox_bytes", "What clients have not read yet", outbox_bytes),
        ("waiting", "Commands and facts in line for the broker", lambda: uplink.waiting),
        ("draining", "Whether clients are being sent away", lambda: membership.draining),
    ):
        gauge(registry, f"realtime_gateway_{name}", text, read)

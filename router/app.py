"""Wires the router: one replica that serves or stands by for every partition of the topics."""

from prometheus_client import CollectorRegistry, Gauge

from router.commands import RouterOwner
from router.core.namespaces import Namespaces
from router.core.retention import Retention
from shared.broker import topology
from shared.broker.ports import Broker
from shared.ownership.replica import Replica
from shared.settings import Settings
from shared.trail import Trail


def make_router(
    settings: Settings, broker: Broker, metrics: CollectorRegistry, trail: Trail
) -> Replica:
    """Return a router replica that is ready to run."""
    namespaces = Namespaces(
        {text: Retention(**kept) for text, kept in (settings.history or {}).items()}
    )
    replica = Replica(
        broker,
        topology.ROUTER,
        settings.node_id,
        settings.partitions,
        lambda leases: RouterOwner(leases, namespaces),
        trail,
    )
    owned = Gauge("realtime_router_partitions", "Partitions served here", registry=metrics)
    owned.set_function(lambda: replica.owned)
    nodes = Gauge("realtime_router_nodes", "Gateways believed alive", registry=metrics)
    nodes.set_function(lambda: replica.nodes)
    return replica

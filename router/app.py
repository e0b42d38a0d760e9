"""Wires the router: one replica that serves or stands by for every partition of the topics."""

from prometheus_client import CollectorRegistry

from router.commands import RouterOwner
from router.core.namespaces import Namespaces
from router.core.retention import Retention
from shared.broker import topology
from shared.broker.ports import Broker
from shared.ownership.counts import Counts
from shared.ownership.gauges import watch
from shared.ownership.replica import Replica
from shared.process.metrics import gauge
from shared.settings import Settings
from shared.trail import Trail


def make_router(
    settings: Settings, broker: Broker, registry: CollectorRegistry, trail: Trail
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
        Counts(topology.ROUTER, registry),
        trail,
    )
    watch(registry, replica)
    gauge(registry, "realtime_router_nodes", "Gateways believed alive", lambda: replica.nodes)
    gauge(
        registry,
        "realtime_router_patterns",
        "Pairs of a pattern and a gateway that wants it",
        lambda: sum(len(one.table) for one in replica.owners(RouterOwner)),
    )
    return replica

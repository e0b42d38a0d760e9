"""PURE: the state of the cluster, as back ends are told of it."""

from gateway.api import structs
from shared.broker import topology
from shared.overview import GATEWAY, Overview


def cluster_state(overview: Overview, partitions: int, now: float) -> structs.ClusterState:
    """Return who is there; ``now`` is monotonic, in seconds."""
    processes = overview.processes(now)
    replicas = [one for one in processes if one.role != GATEWAY]
    served = {
        service: {at for one in replicas if one.role == service for at in one.serves}
        for service in (topology.ROUTER, topology.PRESENCE)
    }
    return structs.ClusterState(
        partitions,
        [
            structs.GatewayState(
                one.node,
                one.connections,
                round(one.taken_rate, 1),
                round(one.given_rate, 1),
                one.release,
                one.p50_ms,
                one.p99_ms,
                one.draining,
            )
            for one in processes
            if one.role == GATEWAY
        ],
        [
            structs.ReplicaState(
                one.node, one.role, sorted(one.serves), round(one.taken_rate, 1), one.release
            )
            for one in replicas
        ],
        {name: sorted(set(range(partitions)) - found) for name, found in served.items()},
    )

"""What is looked up in a replica whenever its metrics are read."""

from prometheus_client import CollectorRegistry

from shared.ownership.replica import Replica
from shared.process.metrics import gauge


def watch(registry: CollectorRegistry, replica: Replica) -> None:
    """Register the gauges that both services have."""
    for name, text, read in (
        ("partitions", "Partitions served here", lambda: replica.owned),
        ("waiting", "Batches handed over by the broker and not begun", lambda: replica.waiting),
        ("logs_refused", "Partitions whose log cannot be used", lambda: replica.logs_refused),
    ):
        gauge(registry, f"realtime_{replica.service}_{name}", text, read)

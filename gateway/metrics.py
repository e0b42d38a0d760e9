"""What a gateway counts. No label ever holds a user or a topic."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """The gateway's counters, in a registry of its own process or test."""

    def __init__(self, registry: CollectorRegistry, connections: Callable[[], float]) -> None:
        gauge = Gauge("realtime_gateway_connections", "Open WebSockets", registry=registry)
        gauge.set_function(connections)
        self.commands = Counter(
            "realtime_gateway_commands", "Messages from clients", ["effect"], registry=registry
        )
        self.errors = Counter(
            "realtime_gateway_errors", "Errors sent to clients", ["code"], registry=registry
        )
        self.batches = Counter(
            "realtime_gateway_batches", "Batches from owners", ["service"], registry=registry
        )
        self.topic_deliveries = Counter(
            "realtime_gateway_topic_deliveries", "Broadcasts written", registry=registry
        )
        self.direct_deliveries = Counter(
            "realtime_gateway_direct_deliveries", "Direct messages written", registry=registry
        )
        self.receipts_dropped = Counter(
            "realtime_gateway_receipts_dropped", "Receipts nobody took", registry=registry
        )
        self.gaps = Counter(
            "realtime_gateway_gaps", "Times deliveries were found missing", registry=registry
        )
        self.lost = Counter(
            "realtime_gateway_lost",
            "Broadcasts missing that history holds no more",
            registry=registry,
        )
        self.closes = Counter(
            "realtime_gateway_closes", "Conversations ended by us", ["code"], registry=registry
        )

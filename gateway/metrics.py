"""What a gateway counts. No label ever holds a user or a topic."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from shared.errors import NoWelcome, ServiceError, SlowConsumer, Unavailable


class Metrics:
    """The gateway's counters, in a registry of its own process or test."""

    def __init__(self, registry: CollectorRegistry, connections: Callable[[], float]) -> None:
        gauge = Gauge("realtime_gateway_connections", "Open WebSockets", registry=registry)
        gauge.set_function(connections)
        self.heard = self.written = 0
        """Messages from clients, and deliveries to them; for the lease."""

        self._commands = Counter(
            "realtime_gateway_commands", "Messages from clients", ["effect"], registry=registry
        )
        self.errors = Counter(
            "realtime_gateway_errors", "Errors sent to clients", ["code"], registry=registry
        )
        self.batches = Counter(
            "realtime_gateway_batches", "Batches from owners", ["service"], registry=registry
        )
        self._topic_deliveries = Counter(
            "realtime_gateway_topic_deliveries", "Broadcasts written", registry=registry
        )
        self._direct_deliveries = Counter(
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
        self.shed = Counter(
            "realtime_gateway_shed",
            "Broadcasts of low priority not written to slow readers",
            registry=registry,
        )
        self.closes = Counter(
            "realtime_gateway_closes", "Conversations ended by us", ["code"], registry=registry
        )
        # Whoever is alerted of an increase must see the zero before the first one.
        for error in (ServiceError, Unavailable):
            self.errors.labels(str(error.reply_code))
        for ending in (SlowConsumer, NoWelcome):
            self.closes.labels(str(ending.close_code))

    def command(self, effect: object) -> None:
        """Count a message from a client by what it leads to."""
        self.heard += 1
        self._commands.labels(type(effect).__name__).inc()

    def topic_deliveries(self, written: int) -> None:
        """Count broadcasts written."""
        self.written += written
        self._topic_deliveries.inc(written)

    def direct_deliveries(self, written: int) -> None:
        """Count direct messages written."""
        self.written += written
        self._direct_deliveries.inc(written)

"""What a gateway counts. No label ever holds a user or a topic."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.core.latency import Latency
from gateway.core.replies import UNKNOWN
from shared.errors import NoWelcome, ServiceError, SlowConsumer, Unavailable
from shared.messages.client import LABELS

COMMAND_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""A command is answered within 5 s (R1); one that waits for its turn may take longer."""


class Metrics:
    """The gateway's counters, in a registry of its own process or test."""

    def __init__(self, registry: CollectorRegistry, connections: Callable[[], float]) -> None:
        gauge = Gauge("realtime_gateway_connections", "Open WebSockets", registry=registry)
        gauge.set_function(connections)
        self.heard = self.written = 0
        """Messages from clients, and deliveries to them; for the lease."""

        self.latency = Latency()
        commands = Counter(
            "realtime_gateway_commands", "Messages from clients", ["type"], registry=registry
        )
        seconds = Histogram(
            "realtime_gateway_command_seconds",
            "From a message from a client to the last of its reply",
            ["type"],
            buckets=COMMAND_SECONDS,
            registry=registry,
        )
        types = (*LABELS, UNKNOWN)
        self._commands = {one: commands.labels(one) for one in types}
        self._seconds = {one: seconds.labels(one) for one in types}
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

    def command(self, kind: str) -> None:
        """Count a message from a client, by its type as ``Session.heard`` tells it."""
        self.heard += 1
        self._commands[kind].inc()

    def answered(self, kind: str, began_at: float, now: float) -> None:
        """Measure a message from a client whose reply is written; times are monotonic."""
        self._seconds[kind].observe(now - began_at)
        self.latency.add(now - began_at, now)

    def topic_deliveries(self, written: int) -> None:
        """Count broadcasts written."""
        self.written += written
        self._topic_deliveries.inc(written)

    def direct_deliveries(self, written: int) -> None:
        """Count direct messages written."""
        self.written += written
        self._direct_deliveries.inc(written)

"""What a gateway counts. No label ever holds what a client has named."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.core.latency import Latency
from gateway.core.replies import UNKNOWN
from shared.broker import topology
from shared.errors import (
    BadRequest,
    GoingAway,
    KeysUnavailable,
    NodeFull,
    OriginRefused,
    Overloaded,
    ServiceError,
    TooManyConnections,
    TooManyHandshakes,
    Unauthorized,
)
from shared.messages.client import LABELS
from shared.messages.deliveries import DirectDelivery
from shared.messages.minted import age_seconds
from shared.process.metrics import AGE_SECONDS, ANSWER_SECONDS, BATCH_ITEMS

OTHER = "other"
"""The code of an error that only a worker of an extension can have answered with (X1)."""

REASONS: dict[type[Exception], str] = {
    OriginRefused: "origin",
    Unauthorized: "token",
    KeysUnavailable: "keys",
    BadRequest: "request",
    GoingAway: "draining",
    NodeFull: "full",
    Overloaded: "overload",
    TooManyHandshakes: "rate",
    TooManyConnections: "connections",
}
"""Why we refuse an upgrade to a WebSocket."""

NO_UPGRADE = "upgrade"
"""Why aiohttp does: the request is no upgrade, or not as in RFC 6455."""

INTERNAL_ERROR = 1011
"""The close code of an error that has none of its own."""


class Metrics:
    """The gateway's counters, in a registry of its own process or test."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.heard = self.written = 0
        """Messages from clients, and deliveries to them; for the lease."""

        self.latency = Latency()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"realtime_gateway_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], label: str) -> Histogram:
            return Histogram(
                f"realtime_gateway_{name}", text, [label], buckets=buckets, registry=registry
            )

        self.accepts = counter("accepts", "WebSockets accepted")
        refusals = counter("refusals", "Upgrades to a WebSocket refused", "reason")
        self._refusals = {one: refusals.labels(one) for one in (*REASONS.values(), NO_UPGRADE)}
        self.received_bytes = counter("received_bytes", "What clients have sent, without frames")
        self.sent_bytes = counter("sent_bytes", "Frames written to clients")
        commands = counter("commands", "Messages from clients", "type")
        seconds = histogram(
            "command_seconds",
            "From a message from a client to the last of its reply",
            ANSWER_SECONDS,
            "type",
        )
        types = (*LABELS, UNKNOWN)
        self._commands = {one: commands.labels(one) for one in types}
        self._seconds = {one: seconds.labels(one) for one in types}
        errors = counter("errors", "Errors sent to clients", "code")
        self._errors = {one: errors.labels(one) for one in (*reply_codes(), OTHER)}
        closes = counter("closes", "Conversations ended by us", "code")
        self._closes = {one: closes.labels(one) for one in close_codes()}
        batches = counter("batches", "Batches from owners", "service")
        services = (topology.ROUTER, topology.PRESENCE)
        self._batches = {one: batches.labels(one) for one in services}
        items = histogram("batch_items", "Envelopes in a batch", BATCH_ITEMS, "direction")
        self._items_sent, self._items_received = items.labels("sent"), items.labels("received")
        self._topic_deliveries = counter("topic_deliveries", "Broadcasts written")
        self._direct_deliveries = counter("direct_deliveries", "Direct messages written")
        ages = histogram(
            "delivery_age_seconds",
            "From the minting of a message to the moment it is written",
            AGE_SECONDS,
            "kind",
        )
        self._topic_ages, self._direct_ages = ages.labels("topic"), ages.labels("direct")
        self.receipts_dropped = counter("receipts_dropped", "Receipts nobody took")
        self.gaps = counter("gaps", "Times deliveries were found missing")
        self.lost = counter("lost", "Broadcasts missing that history holds no more")
        fetches = counter("key_fetches", "Times the keys of tokens were asked for", "outcome")
        self.key_fetches = {one: fetches.labels(one) for one in ("done", "failed")}
        self.shed = counter("shed", "Broadcasts of low priority not written to slow readers")

    def refusal(self, error: Exception) -> None:
        """Count an upgrade that was refused, by us or by aiohttp."""
        self._refusals[REASONS.get(type(error), NO_UPGRADE)].inc()

    def command(self, kind: str) -> None:
        """Count a message from a client, by its type as ``Session.heard`` tells it."""
        self.heard += 1
        self._commands[kind].inc()

    def answered(self, kind: str, began_at: float, now: float) -> None:
        """Measure a message from a client whose reply is written; times are monotonic."""
        self._seconds[kind].observe(now - began_at)
        self.latency.add(now - began_at, now)

    def error(self, error: ServiceError) -> None:
        """Count an error that a client is told."""
        code = str(error.reply_code)
        self._errors[code if code in self._errors else OTHER].inc()

    def close(self, error: ServiceError) -> None:
        """Count a conversation that an error ends."""
        self._closes[str(error.close_code or INTERNAL_ERROR)].inc()

    def batch_sent(self, items: int) -> None:
        """Count a batch of commands and facts for an owner."""
        self._items_sent.observe(items)

    def batch_received(self, service: str, items: int) -> None:
        """Count a batch of deliveries from an owner, unless it is empty and only marks a place."""
        if items:
            self._batches[service].inc()
            self._items_received.observe(items)

    def topic_delivery(self, message_id: str, written: int, size: int, now_ms: int) -> None:
        """Count a broadcast: to how many it was written, and how many bytes all were given."""
        self.written += written
        self._topic_deliveries.inc(written)
        self.sent_bytes.inc(size)
        age = age_seconds(message_id, now_ms)
        if size and age is not None:
            self._topic_ages.observe(age)

    def direct_delivery(self, delivery: DirectDelivery, now_ms: int) -> None:
        """Measure a direct message that reaches a client; in a mailbox it may wait for days."""
        age = age_seconds(delivery.message_id, now_ms)
        if age is not None and not delivery.queued:
            self._direct_ages.observe(age)

    def direct_deliveries(self, written: int) -> None:
        """Count direct messages written."""
        self.written += written
        self._direct_deliveries.inc(written)


def errors() -> Iterator[type[ServiceError]]:
    """Yield every kind of error."""
    kinds: list[type[ServiceError]] = [ServiceError]
    for kind in kinds:
        yield kind
        kinds += kind.__subclasses__()


def reply_codes() -> set[str]:
    """Return the codes of all errors: whoever is alerted must see the zero before the first one."""
    return {str(kind.reply_code) for kind in errors()}


def close_codes() -> set[str]:
    """Return the close codes of all errors."""
    return {str(kind.close_code or INTERNAL_ERROR) for kind in errors()}

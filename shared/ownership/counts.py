"""What a replica of the router or the presence service counts while it serves."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from shared.messages.minted import age_seconds
from shared.process.metrics import AGE_SECONDS, BATCH_ITEMS


class Counts:
    """A replica's counters; their names begin with the service's."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"realtime_{service}_{name}", text, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"realtime_{service}_{name}", text, buckets=buckets, registry=registry)

        self.takeovers = counter("takeovers", "Reigns begun")
        self.poisoned = counter("poisoned", "Messages moved to the queue poison")
        self._performed = counter("performed", "Commands and facts carried out")
        self._items = histogram("batch_items", "Commands and facts in a batch", BATCH_ITEMS)
        self._ages = histogram(
            "command_age_seconds",
            "From the minting of the oldest message of a batch to its being carried out",
            AGE_SECONDS,
        )

    def batch(self, items: int, oldest: str, now_ms: int) -> None:
        """Count a batch that is carried out; ``oldest`` is the first id that was minted for it."""
        if not items:
            return
        self._performed.inc(items)
        self._items.observe(items)
        if (age := age_seconds(oldest, now_ms)) is not None:
            self._ages.observe(age)

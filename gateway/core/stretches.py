"""PURE: which offsets of which topics a connection was written already (H3)."""

from shared.messages.envelopes import TopicDelivery
from shared.recent import Recent

MAX_TOPICS = 10_000


class Stretches:
    """Unbroken stretches of offsets, by topic; only of topics that were replayed at all."""

    def __init__(self) -> None:
        self._topics: Recent[str, tuple[str, list[tuple[int, int]]]] = Recent(MAX_TOPICS)

    def __bool__(self) -> bool:
        return bool(self._topics)

    def covers(self, delivery: TopicDelivery) -> bool:
        """Whether this broadcast was written already."""
        epoch, stretches = self._topics.get(delivery.topic, ("", []))
        return delivery.epoch == epoch and any(
            low <= delivery.offset <= high for low, high in stretches
        )

    def add(self, delivery: TopicDelivery) -> None:
        """Note that this broadcast is written."""
        epoch, stretches = self._topics.get(delivery.topic, ("", []))
        if epoch != delivery.epoch:
            stretches = []
        low = high = delivery.offset
        apart = []
        for one in stretches:
            if one[1] + 1 < low or high + 1 < one[0]:
                apart.append(one)
            else:
                low, high = min(low, one[0]), max(high, one[1])
        self._topics.put(delivery.topic, (delivery.epoch, [*apart, (low, high)]))

    def follow(self, delivery: TopicDelivery) -> None:
        """Note a broadcast that came live, if its topic was replayed before."""
        if delivery.topic in self._topics:
            self.add(delivery)

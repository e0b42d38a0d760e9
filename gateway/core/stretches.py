"""PURE: which offsets of which topics a client has already (H3)."""

from shared.messages.deliveries import TopicDelivery
from shared.recent import Recent

MAX_TOPICS = 10_000


class Stretches:
    """What was written, in unbroken stretches, of topics that were replayed at all.

    And how far a client has come by its own account, when it asked for what came behind that.
    """

    def __init__(self) -> None:
        self._topics: Recent[str, tuple[str, list[tuple[int, int]]]] = Recent(MAX_TOPICS)
        self._claims: Recent[str, tuple[str, int]] = Recent(MAX_TOPICS)

    def __bool__(self) -> bool:
        return bool(self._topics) or bool(self._claims)

    def claim(self, topic: str, epoch: str, offset: int) -> None:
        """Note that the client has all of a topic up to here; what it said before is void."""
        self._claims.put(topic, (epoch, offset))

    def has(self, delivery: TopicDelivery) -> bool:
        """Whether the client has this broadcast, so that it must not come live."""
        epoch, offset = self._claims.get(delivery.topic, ("", 0))
        claimed = delivery.epoch == epoch and delivery.offset <= offset
        return claimed or self.covers(delivery)

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

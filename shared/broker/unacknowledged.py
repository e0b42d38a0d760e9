"""PURE: which messages of one channel of RabbitMQ are not acknowledged; their tags only rise."""

from collections.abc import Iterator, Sequence


class Unacknowledged:
    """Says with one word for many what can be said so, and never more than was told.

    It holds no more than the channel does, which its prefetch bounds.
    """

    def __init__(self) -> None:
        self._tags: dict[int, None] = {}
        """In the order in which they came."""

    def add(self, tag: int) -> None:
        """Take note of a message that has come."""
        self._tags[tag] = None

    def remove(self, tags: Sequence[int]) -> Iterator[tuple[int, bool]]:
        """Yield what to tell the broker: tags, each with whether all before it are meant, too."""
        known = [tag for tag in tags if tag in self._tags]
        for tag in known:
            del self._tags[tag]
        first_left = next(iter(self._tags), None)
        before = [tag for tag in known if first_left is None or tag < first_left]
        if before:
            yield max(before), True
        for tag in tags:
            if tag not in before:
                yield tag, False

    def __len__(self) -> int:
        return len(self._tags)

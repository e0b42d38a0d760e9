"""PURE: which connections of this node want which patterns."""

from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, TypeVar

from shared.topics.pattern import parse_pattern
from shared.topics.trie import Trie

Who = TypeVar("Who", bound=Hashable)


class Subscriptions(Generic[Who]):
    """The node's index; it answers each change with how the node's interest changed."""

    def __init__(self) -> None:
        self._trie: Trie[Who] = Trie()
        self._patterns: dict[str, None] = {}  # in the order in which they came

    def add(self, who: Who, patterns: Iterable[str]) -> list[str]:
        """Subscribe to patterns not held yet; return those that are new to the node."""
        gained = []
        for pattern in patterns:
            if self._trie.add(parse_pattern(pattern), who):
                self._patterns[pattern] = None
                gained.append(pattern)
        return gained

    def remove(self, who: Who, patterns: Iterable[str]) -> list[str]:
        """Unsubscribe from patterns held; return those that nobody on the node wants now."""
        lost = []
        for pattern in patterns:
            if self._trie.remove(parse_pattern(pattern), who):
                del self._patterns[pattern]
                lost.append(pattern)
        return lost

    def wanting(self, topic: str) -> set[Who]:
        """Return the connections that want this topic, each once (T5)."""
        return self._trie.match(tuple(topic.split(".")))

    def counts(self) -> Iterator[tuple[str, int]]:
        """Yield every pattern of the node's interest, and how many connections hold it."""
        for pattern in self._patterns:
            yield pattern, len(self._trie.under(parse_pattern(pattern)))

    def __iter__(self) -> Iterator[str]:
        """Yield every pattern of the node's interest."""
        return iter(self._patterns)

    def __len__(self) -> int:
        return len(self._patterns)

"""PURE: which connections of this node want which patterns."""

from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, TypeVar

from shared.topics.trie import Trie

Who = TypeVar("Who", bound=Hashable)


class Subscriptions(Generic[Who]):
    """The node's index; it answers each change with how the node's interest changed."""

    def __init__(self) -> None:
        self._trie = Trie()
        self._holders: dict[str, set[Who]] = {}
        """By pattern, in the order in which they came."""

    def add(self, who: Who, patterns: Iterable[str]) -> list[str]:
        """Subscribe to patterns not held yet; return those that are new to the node."""
        gained = []
        for pattern in patterns:
            if (holders := self._holders.get(pattern)) is not None:
                holders.add(who)
            else:
                self._holders[pattern] = {who}
                self._trie.add(pattern)
                gained.append(pattern)
        return gained

    def remove(self, who: Who, patterns: Iterable[str]) -> list[str]:
        """Unsubscribe from patterns held; return those that nobody on the node wants now."""
        lost = []
        for pattern in patterns:
            holders = self._holders.get(pattern, set())
            holders.discard(who)
            if not holders and self._holders.pop(pattern, None) is not None:
                self._trie.discard(pattern)
                lost.append(pattern)
        return lost

    def wanting(self, topic: str) -> set[Who]:
        """Return the connections that want this topic, each once (T5); the set is the caller's."""
        found: set[Who] = set()
        return found.union(*(self._holders[pattern] for pattern in self._trie.match(topic)))

    def counts(self) -> Iterator[tuple[str, int]]:
        """Yield every pattern of the node's interest, and how many connections hold it."""
        for pattern, holders in self._holders.items():
            yield pattern, len(holders)

    def __iter__(self) -> Iterator[str]:
        """Yield every pattern of the node's interest."""
        return iter(self._holders)

    def __len__(self) -> int:
        return len(self._holders)

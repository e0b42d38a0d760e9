"""PURE: which nodes want which patterns, for one partition of the topics."""

from collections.abc import Callable, Iterator

from shared.topics.trie import Trie


class InterestTable:
    """Who wants what. A node that has not reported in this reign is not known: see ``plan``."""

    def __init__(self) -> None:
        self._trie = Trie()
        self._patterns: dict[str, dict[str, int]] = {}
        """By node: each pattern, and how far the partition had come when the node wanted it."""

        self.reported: set[str] = set()
        """Nodes whose whole interest is known."""

    def gained(self, node_id: str, patterns: list[str], serial: int = 0) -> None:
        """A node wants these patterns, too: of what is kept, what comes after this serial."""
        held = self._patterns.setdefault(node_id, {})
        for pattern in patterns:
            if pattern not in held:
                held[pattern] = serial
                self._trie.add(pattern)

    def lost(self, node_id: str, patterns: list[str]) -> None:
        """A node no longer wants these patterns."""
        held = self._patterns.get(node_id, {})
        for pattern in patterns:
            held.pop(pattern, None)
            self._discard_unheld(pattern)

    def report(self, node_id: str, patterns: list[str], *, first: bool, last: bool) -> None:
        """A node tells all that it wants, in one part or several; the first one replaces."""
        if first:
            self.forget(node_id)
        self.gained(node_id, patterns)
        if last:
            self.reported.add(node_id)

    def forget(self, node_id: str) -> None:
        """Drop all that a node wanted."""
        for pattern in self._patterns.pop(node_id, {}):
            self._discard_unheld(pattern)
        self.reported.discard(node_id)

    def _discard_unheld(self, pattern: str) -> None:
        if not any(pattern in held for held in self._patterns.values()):
            self._trie.discard(pattern)

    def wanted_by(self, topic: str) -> set[str]:
        """Return the nodes with an interest in this topic."""
        met = self._trie.match(topic)
        if not met:
            return set()
        return {node for node, held in self._patterns.items() if not held.keys().isdisjoint(met)}

    def wanted_at(self, topic: str, serial: int) -> set[str]:
        """Return the nodes that wanted this topic already when this serial was given."""
        met = self._trie.match(topic)
        return {node for node, held in self._patterns.items() if _any_before(held, met, serial)}

    def missed_by(self, node_id: str) -> Callable[[str, int], bool]:
        """Return what tells whether a node wanted a topic already when this serial was given."""
        if node_id not in self.reported:
            return lambda topic, serial: True  # unsure means send everything
        held = self._patterns.get(node_id, {})
        return lambda topic, serial: _any_before(held, self._trie.match(topic), serial)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield each node with each of its patterns."""
        for node_id, patterns in self._patterns.items():
            for pattern in patterns:
                yield node_id, pattern

    def __len__(self) -> int:
        """Count (pattern, node) pairs."""
        return sum(len(patterns) for patterns in self._patterns.values())


def _any_before(held: dict[str, int], patterns: list[str], serial: int) -> bool:
    """Whether some of these patterns was held already when this serial was given."""
    return any(held.get(pattern, serial) < serial for pattern in patterns)

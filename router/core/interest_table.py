"""PURE: which nodes want which patterns, for one partition of the topics."""

from shared.topics.pattern import parse_pattern
from shared.topics.trie import Trie


class InterestTable:
    """Who wants what. A node that has not reported in this reign is not known: see ``plan``."""

    def __init__(self) -> None:
        self._trie: Trie[str] = Trie()
        self._patterns: dict[str, set[str]] = {}
        self.reported: set[str] = set()
        """Nodes whose whole interest is known."""

    def gained(self, node_id: str, patterns: list[str]) -> None:
        """A node wants these patterns, too."""
        held = self._patterns.setdefault(node_id, set())
        for pattern in patterns:
            self._trie.add(parse_pattern(pattern), node_id)
            held.add(pattern)

    def lost(self, node_id: str, patterns: list[str]) -> None:
        """A node no longer wants these patterns."""
        held = self._patterns.get(node_id, set())
        for pattern in patterns:
            self._trie.remove(parse_pattern(pattern), node_id)
            held.discard(pattern)

    def report(self, node_id: str, patterns: list[str], *, first: bool, last: bool) -> None:
        """A node tells all that it wants, in one part or several; the first one replaces."""
        if first:
            self.forget(node_id)
        self.gained(node_id, patterns)
        if last:
            self.reported.add(node_id)

    def forget(self, node_id: str) -> None:
        """Drop all that a node wanted."""
        for pattern in self._patterns.pop(node_id, set()):
            self._trie.remove(parse_pattern(pattern), node_id)
        self.reported.discard(node_id)

    def wanted_by(self, topic: str) -> set[str]:
        """Return the nodes with an interest in this topic."""
        return self._trie.match(tuple(topic.split(".")))

    def __len__(self) -> int:
        """Count (pattern, node) pairs."""
        return sum(len(patterns) for patterns in self._patterns.values())

"""PURE: which nodes want which patterns, for one partition of the topics."""

from collections.abc import Callable, Iterable, Iterator

from shared.topics.pattern import contains, parse_pattern
from shared.topics.trie import Trie


class InterestTable:
    """Who wants what. A node that has not reported in this reign is not known: see ``plan``."""

    def __init__(self) -> None:
        self._trie: Trie[str] = Trie()
        self._patterns: dict[str, dict[str, int]] = {}
        """By node: each pattern, and how far the partition had come when the node wanted it."""

        self.reported: set[str] = set()
        """Nodes whose whole interest is known."""

    def gained(self, node_id: str, patterns: list[str], serial: int = 0) -> None:
        """A node wants these patterns, too: of what is kept, what comes after this serial."""
        held = self._patterns.setdefault(node_id, {})
        for pattern in patterns:
            self._trie.add(parse_pattern(pattern), node_id)
            held.setdefault(pattern, serial)

    def lost(self, node_id: str, patterns: list[str]) -> None:
        """A node no longer wants these patterns."""
        held = self._patterns.get(node_id, {})
        for pattern in patterns:
            self._trie.remove(parse_pattern(pattern), node_id)
            held.pop(pattern, None)

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
            self._trie.remove(parse_pattern(pattern), node_id)
        self.reported.discard(node_id)

    def wanted_by(self, topic: str) -> set[str]:
        """Return the nodes with an interest in this topic."""
        return self._trie.match(tuple(topic.split(".")))

    def wanted_at(self, topic: str, serial: int) -> set[str]:
        """Return the nodes that wanted this topic already when this serial was given."""
        words = tuple(topic.split("."))
        return {one for one in self._trie.match(words) if self._wanted_before(one, words, serial)}

    def _wanted_before(self, node_id: str, words: tuple[str, ...], serial: int) -> bool:
        """Whether some pattern of a node meets these words that it wanted before a serial.

        Some pattern does; few were wanted after it, so those are looked at first.
        """
        since = self._patterns[node_id]
        late = [pattern for pattern, at in since.items() if at >= serial]
        if not _any_meets(late, words):
            return True
        return _any_meets((pattern for pattern, at in since.items() if at < serial), words)

    def missed_by(self, node_id: str) -> Callable[[str, int], bool]:
        """Return what tells whether a node wanted a topic already when this serial was given."""
        if node_id not in self.reported:
            return lambda topic, serial: True  # unsure means send everything
        since = self._patterns.get(node_id, {})
        patterns: Trie[str] = Trie()
        for pattern in since:
            patterns.add(parse_pattern(pattern), pattern)
        return lambda topic, serial: any(
            since[pattern] < serial for pattern in patterns.match(tuple(topic.split(".")))
        )

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield each node with each of its patterns."""
        for node_id, patterns in self._patterns.items():
            for pattern in patterns:
                yield node_id, pattern

    def __len__(self) -> int:
        """Count (pattern, node) pairs."""
        return sum(len(patterns) for patterns in self._patterns.values())


def _any_meets(patterns: Iterable[str], words: tuple[str, ...]) -> bool:
    return any(contains(parse_pattern(pattern), words) for pattern in patterns)

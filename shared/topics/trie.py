"""A trie of patterns: add values under patterns, find the values that a topic meets."""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from shared.topics.pattern import ANY_WORDS, ONE_WORD, is_reserved

Value = TypeVar("Value", bound=Hashable)
Words = tuple[str, ...]


class _Node(Generic[Value]):
    __slots__ = ("children", "values")

    def __init__(self) -> None:
        self.children: dict[str, _Node[Value]] = {}
        self.values: set[Value] = set()


class Trie(Generic[Value]):
    """Values under patterns. A value may stand under many patterns, once under each."""

    def __init__(self) -> None:
        self._root: _Node[Value] = _Node()

    def add(self, words: Words, value: Value) -> bool:
        """Put a value under a pattern; return whether it is the first one there."""
        node = self._root
        for word in words:
            node = node.children.setdefault(word, _Node())
        first = not node.values
        node.values.add(value)
        return first

    def remove(self, words: Words, value: Value) -> bool:
        """Take a value away; return whether it was the last one under this pattern."""
        path = [self._root]
        for word in words:
            if (child := path[-1].children.get(word)) is None:
                return False
            path.append(child)
        if value not in path[-1].values:
            return False
        path[-1].values.remove(value)
        last = not path[-1].values
        for at in range(len(words), 0, -1):
            if path[at].values or path[at].children:
                break
            del path[at - 1].children[words[at - 1]]
        return last

    def under(self, words: Words) -> set[Value]:
        """Return the values that stand under this very pattern."""
        node = self._root
        for word in words:
            if (child := node.children.get(word)) is None:
                return set()
            node = child
        return set(node.values)

    def match(self, topic: Words) -> set[Value]:
        """Return the values of every pattern that this concrete topic meets.

        A wildcard as the first word does not meet a reserved topic (T4).
        """
        found: set[Value] = set()
        if is_reserved(topic[0]):
            if (child := self._root.children.get(topic[0])) is not None:
                for values in _matches(child, topic, 1):
                    found |= values
            return found
        for values in _matches(self._root, topic, 0):
            found |= values
        return found

    def __len__(self) -> int:
        """Count the patterns that hold a value."""
        return sum(1 for _ in self._nodes(self._root))

    def _nodes(self, node: _Node[Value]) -> Iterator[_Node[Value]]:
        if node.values:
            yield node
        for child in node.children.values():
            yield from self._nodes(child)


def _matches(node: _Node[Value], words: Words, at: int) -> Iterator[set[Value]]:
    """Yield the values under every pattern that covers ``words[at:]``."""
    if (rest := node.children.get(ANY_WORDS)) is not None:
        yield rest.values  # "#" covers what is left, nothing included
    if at == len(words):
        yield node.values
        return
    for step in (words[at], ONE_WORD):
        if (child := node.children.get(step)) is not None:
            yield from _matches(child, words, at + 1)

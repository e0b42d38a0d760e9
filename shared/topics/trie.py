"""A trie of patterns: add patterns, find those that a topic meets."""

from collections.abc import Sequence

from shared.topics.pattern import ANY_WORDS, ONE_WORD, has_wildcard, is_reserved


class _Node:
    """Where the words so far lead, if to several patterns. It has nothing before it needs it."""

    __slots__ = ("any_word", "here", "rest", "words")

    def __init__(self) -> None:
        self.words: dict[str, _Node | str] | None = None
        """What follows, by the next word: a node, or the only pattern that goes on like this."""

        self.any_word: _Node | str | None = None
        """What follows ``*``."""

        self.rest: str | None = None
        """The pattern that ends here with ``#``."""

        self.here: str | None = None
        """The pattern that ends here otherwise."""

    def next(self, word: str) -> "_Node | str | None":
        """Return what follows a word of a pattern."""
        if word == ONE_WORD:
            return self.any_word
        return self.words.get(word) if self.words else None

    def put(self, word: str, child: "_Node | str") -> None:
        """Let something follow a word of a pattern."""
        if word == ONE_WORD:
            self.any_word = child
        else:
            self.words = self.words or {}
            self.words[word] = child

    def cut(self, word: str) -> None:
        """Let nothing follow a word of a pattern any more."""
        if word == ONE_WORD:
            self.any_word = None
        elif self.words:
            self.words.pop(word, None)
            self.words = self.words or None

    @property
    def is_bare(self) -> bool:
        """Whether no pattern leads here any more."""
        return all(one is None for one in (self.words, self.any_word, self.rest, self.here))


class Trie:
    """A set of patterns. One without wildcards needs no node: the topic it meets is itself."""

    def __init__(self) -> None:
        self._topics: set[str] = set()
        self._root = _Node()

    def add(self, pattern: str) -> None:
        """Add a pattern, which may be there already."""
        words = pattern.split(".")
        if has_wildcard(words):
            _add(self._root, words, 0, pattern)
        else:
            self._topics.add(pattern)

    def discard(self, pattern: str) -> None:
        """Take a pattern away, and the nodes that only it needed, if it is there."""
        words = pattern.split(".")
        if has_wildcard(words):
            _discard(self._root, words, 0, pattern)
        else:
            self._topics.discard(pattern)

    def match(self, topic: str) -> list[str]:
        """Return every pattern that this concrete topic meets, each once.

        A wildcard as the first word does not meet a reserved topic (T4). What is looked at is what
        some pattern reaches with the words so far: never more than there is, however deep a topic.
        """
        found = [topic] if topic in self._topics else []
        words = topic.split(".")
        nodes = [self._below_reserved() if is_reserved(words[0]) else self._root]
        for at, word in enumerate(words):
            children: list[_Node | str] = []
            for node in nodes:
                if node.rest is not None:
                    found.append(node.rest)
                if node.words is not None and (child := node.words.get(word)) is not None:
                    children.append(child)
                if node.any_word is not None:
                    children.append(node.any_word)
            nodes = []
            for child in children:
                if isinstance(child, _Node):
                    nodes.append(child)
                elif _goes_on(child.split("."), words, at + 1):
                    found.append(child)
        for node in nodes:
            found += [one for one in (node.here, node.rest) if one is not None]
        return found

    def _below_reserved(self) -> _Node:
        """Return the root without its wildcards."""
        root = _Node()
        root.words = self._root.words
        return root


def _add(node: _Node, words: Sequence[str], at: int, pattern: str) -> None:
    """Add a pattern to those below a node, to which its first words lead."""
    if at == len(words):
        node.here = pattern
    elif words[at] == ANY_WORDS:
        node.rest = pattern
    elif (child := node.next(words[at])) is None or child == pattern:
        node.put(words[at], pattern)
    else:
        if isinstance(child, str):
            alone, child = child, _Node()
            _add(child, alone.split("."), at + 1, alone)
            node.put(words[at], child)
        _add(child, words, at + 1, pattern)


def _discard(node: _Node, words: Sequence[str], at: int, pattern: str) -> None:
    """Take a pattern away from those below a node."""
    if at == len(words):
        node.here = None
    elif words[at] == ANY_WORDS:
        node.rest = None
    elif isinstance(child := node.next(words[at]), _Node):
        _discard(child, words, at + 1, pattern)
        if child.is_bare:
            node.cut(words[at])
    elif child == pattern:
        node.cut(words[at])


def _goes_on(pattern: list[str], topic: list[str], at: int) -> bool:
    """Whether a pattern covers what a topic has from a word on."""
    for place in range(at, len(pattern)):
        if pattern[place] == ANY_WORDS:
            return True
        if place == len(topic) or pattern[place] not in {ONE_WORD, topic[place]}:
            return False
    return len(pattern) == len(topic)

import sys
from itertools import product
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.topics import trie as module
from shared.topics.pattern import MAX_WORDS
from shared.topics.trie import Trie, _Node
from tests.unit.test_pattern import ALL_TOPICS, PATTERN, covers

CHANGES = st.lists(st.tuples(st.booleans(), PATTERN), max_size=30)


def trie_of(patterns: "list[str] | set[str]") -> Trie:
    trie = Trie()
    for pattern in patterns:
        trie.add(pattern)
    return trie


@given(CHANGES)
def test_a_trie_finds_what_a_search_through_all_patterns_finds(changes):
    trie = Trie()
    held: set[tuple[str, ...]] = set()
    for adds, pattern in changes:
        if adds:
            trie.add(".".join(pattern))
            held.add(pattern)
        else:
            trie.discard(".".join(pattern))
            held.discard(pattern)

    for topic in ALL_TOPICS:
        expected = sorted(".".join(pattern) for pattern in held if covers(pattern, topic))
        assert sorted(trie.match(".".join(topic))) == expected


@given(CHANGES)
def test_a_trie_that_was_emptied_holds_nothing_any_more(changes):
    trie = trie_of([".".join(pattern) for _, pattern in changes])
    for _, pattern in changes:
        trie.discard(".".join(pattern))

    assert trie._root.is_bare
    assert not trie._topics


def nodes(node: _Node) -> int:
    children = [*(node.words or {}).values(), node.any_word]
    return 1 + sum(nodes(child) for child in children if isinstance(child, _Node))


def test_a_pattern_needs_nodes_only_for_words_that_it_shares_with_another():
    deep = ".*" * (MAX_WORDS - 2)

    assert nodes(trie_of([f"{word}.a{deep}" for word in "abca"])._root) == 1
    assert nodes(trie_of([f"a.{word}{deep}" for word in "abc"])._root) == 2


# ---- how many steps a match takes ----------------------------------------------------------------


def steps(trie: Trie, topic: str) -> int:
    """Count the lines that run in a match, which no other load on the machine changes."""
    lines = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != module.__file__:
            return None
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        trie.match(topic)
    finally:
        sys.settrace(before)
    return lines


def all_of(alphabet: str, depth: int) -> list[str]:
    return [".".join(words) for words in product(alphabet, repeat=depth)]


@pytest.mark.parametrize("depth", range(2, 12))
def test_where_everything_matches_a_match_takes_so_many_steps_for_each_pattern_found(depth):
    trie, topic = trie_of(all_of("a*", depth)), ".".join("a" * depth)

    assert len(trie.match(topic)) == 2**depth
    assert steps(trie, topic) < 30 * 2**depth


def test_with_as_many_patterns_a_topic_twice_as_deep_takes_at_most_twice_the_steps():
    """If each word were a fork, 16 words would take 256 times the steps of 8."""
    taken = {}
    for depth in (MAX_WORDS // 2, MAX_WORDS):
        patterns = [".".join(["a*", "*a"][odd] * (depth // 2)) for odd in (0, 1)]
        stars = range(0, depth, depth // 8)
        patterns += [".".join("*" * many + "a" * (depth - many)) for many in stars]
        trie, topic = trie_of(patterns), ".".join("a" * depth)
        assert sorted(trie.match(topic)) == sorted(patterns)
        taken[depth] = steps(trie, topic)

    assert taken[MAX_WORDS] <= 2 * taken[MAX_WORDS // 2]


def test_what_fails_at_the_last_word_takes_no_more_steps_than_what_matches():
    trie = trie_of([f"{start}.b" for start in all_of("a*", 9)])
    missed, met = ("a." * 9 + last for last in "ab")

    assert trie.match(missed) == []
    assert steps(trie, missed) <= steps(trie, met)


def test_patterns_that_begin_otherwise_take_no_steps():
    few = all_of("a*", 3)
    others = [f"b{number}.{rest}" for number in range(500) for rest in ("a", "a.*", "*.#")]

    assert steps(trie_of(few + others), "a.a.a") == steps(trie_of(few), "a.a.a")


def test_many_patterns_of_alternating_wildcards_cost_what_they_reach_and_not_what_there_is():
    """F19: 16 words, every other one a wildcard, and all the patterns differ in their second."""
    topic = ".".join(["a", "w0"] * (MAX_WORDS // 2))
    taken = []
    for many in (1_000, 10_000):
        patterns = [
            ".".join(["*", f"w{number}"] * (MAX_WORDS // 2)) for number in reversed(range(many))
        ]
        trie = trie_of(patterns)
        assert trie.match(topic) == [patterns[-1]]
        taken.append(steps(trie, topic))

    assert taken[0] == taken[1]

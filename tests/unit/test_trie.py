from hypothesis import given
from hypothesis import strategies as st

from shared.topics.trie import Trie
from tests.unit.test_pattern import ALL_TOPICS, PATTERN, covers

CHANGES = st.lists(st.tuples(st.booleans(), PATTERN, st.integers(0, 3)), max_size=30)


@given(CHANGES)
def test_a_trie_finds_what_a_search_through_all_patterns_finds(changes):
    trie: Trie[int] = Trie()
    held: dict[tuple[str, ...], set[int]] = {}
    for adds, pattern, value in changes:
        under = held.setdefault(pattern, set())
        if adds:
            assert trie.add(pattern, value) is (not under)
            under.add(value)
        else:
            assert trie.remove(pattern, value) is (under == {value})
            under.discard(value)

    assert len(trie) == sum(1 for values in held.values() if values)
    for topic in ALL_TOPICS:
        expected = {
            one for pattern, values in held.items() if covers(pattern, topic) for one in values
        }
        assert trie.match(topic) == expected


@given(CHANGES)
def test_a_trie_that_was_emptied_holds_no_node_any_more(changes):
    trie: Trie[int] = Trie()
    for _, pattern, value in changes:
        trie.add(pattern, value)
    for _, pattern, value in changes:
        trie.remove(pattern, value)

    assert trie._root.children == {}

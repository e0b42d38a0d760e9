from hypothesis import given
from hypothesis import strategies as st

from gateway.core.subscriptions import Subscriptions
from tests.unit.test_pattern import ALL_TOPICS, PATTERN, covers


def test_a_connection_wants_a_topic_once_however_many_of_its_patterns_meet_it():
    subscriptions: Subscriptions[str] = Subscriptions()
    subscriptions.add("c1", ["chat.general", "chat.*", "chat.#"])

    assert subscriptions.wanting("chat.general") == {"c1"}


def test_the_node_gains_a_pattern_with_its_first_connection_and_loses_it_with_the_last():
    subscriptions: Subscriptions[str] = Subscriptions()

    assert subscriptions.add("c1", ["a", "b.*"]) == ["a", "b.*"]
    assert subscriptions.add("c2", ["a", "c"]) == ["c"]
    assert sorted(subscriptions) == ["a", "b.*", "c"]
    assert subscriptions.remove("c1", ["a", "b.*"]) == ["b.*"]
    assert subscriptions.wanting("a") == {"c2"}
    assert subscriptions.remove("c2", ["a", "c"]) == ["a", "c"]
    assert len(subscriptions) == 0


def test_unsubscribing_a_topic_punches_no_hole_in_a_pattern():
    subscriptions: Subscriptions[str] = Subscriptions()
    subscriptions.add("c1", ["chat.a", "chat.*"])
    subscriptions.remove("c1", ["chat.a"])

    assert subscriptions.wanting("chat.a") == {"c1"}


def test_wildcards_at_the_front_do_not_meet_reserved_topics():
    subscriptions: Subscriptions[str] = Subscriptions()
    subscriptions.add("c1", ["#", "*.bob"])
    subscriptions.add("c2", ["presence.*"])

    assert subscriptions.wanting("presence.bob") == {"c2"}


def test_whoever_asks_who_wants_a_topic_may_change_the_answer():
    subscriptions: Subscriptions[str] = Subscriptions()
    subscriptions.add("c1", ["a"])
    subscriptions.wanting("a").clear()

    assert subscriptions.wanting("a") == {"c1"}


CHANGE = st.tuples(st.booleans(), st.integers(0, 3), st.lists(PATTERN, max_size=5))


@given(st.lists(CHANGE, max_size=8))
def test_an_index_answers_as_a_list_of_all_subscriptions_would(changes):
    subscriptions: Subscriptions[int] = Subscriptions()
    held: set[tuple[int, tuple[str, ...]]] = set()
    for adds, who, patterns in changes:
        before = {pattern for _, pattern in held}
        if adds:
            held |= {(who, pattern) for pattern in patterns}
            change, expected = subscriptions.add, {pattern for _, pattern in held} - before
        else:
            held -= {(who, pattern) for pattern in patterns}
            change, expected = subscriptions.remove, before - {pattern for _, pattern in held}
        changed = change(who, [".".join(pattern) for pattern in patterns])
        assert sorted(changed) == sorted(".".join(pattern) for pattern in expected)

    assert dict(subscriptions.counts()) == {
        ".".join(pattern): sum(one == pattern for _, one in held) for _, pattern in held
    }
    for topic in ALL_TOPICS:
        assert subscriptions.wanting(".".join(topic)) == {
            who for who, pattern in held if covers(pattern, topic)
        }

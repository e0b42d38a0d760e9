from gateway.core.subscriptions import Subscriptions


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

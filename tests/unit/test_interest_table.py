from hypothesis import given
from hypothesis import strategies as st

from router.core.interest_table import InterestTable
from tests.unit.test_pattern import ALL_TOPICS, PATTERN, covers


def test_a_topic_is_wanted_by_the_nodes_with_a_pattern_that_meets_it():
    table = InterestTable()
    table.gained("n1", ["chat.a", "chat.*"])
    table.gained("n2", ["chat.#"])
    table.gained("n3", ["news"])

    assert table.wanted_by("chat.a") == {"n1", "n2"}
    assert table.wanted_by("chat.a.b") == {"n2"}
    assert len(table) == 4


def test_what_a_node_lost_it_no_longer_wants():
    table = InterestTable()
    table.gained("n1", ["a", "b.*"])
    table.lost("n1", ["b.*", "never.held"])
    table.lost("n9", ["a"])

    assert table.wanted_by("a") == {"n1"}
    assert table.wanted_by("b.c") == set()


def test_gaining_a_pattern_twice_is_holding_it_once():
    table = InterestTable()
    table.gained("n1", ["a"])
    table.gained("n1", ["a"])
    table.lost("n1", ["a"])

    assert table.wanted_by("a") == set()
    assert len(table) == 0


def test_a_report_replaces_what_was_known_and_counts_once_its_last_part_is_here():
    table = InterestTable()
    table.gained("n1", ["old"])

    table.report("n1", ["a"], first=True, last=False)
    assert table.reported == set()
    table.report("n1", ["b"], first=False, last=True)
    assert table.reported == {"n1"}
    assert table.wanted_by("old") == set()
    assert table.wanted_by("a") == table.wanted_by("b") == {"n1"}


def test_a_node_without_any_interest_reports_as_well():
    table = InterestTable()
    table.report("n1", [], first=True, last=True)

    assert table.reported == {"n1"}


def test_a_node_that_is_gone_wants_nothing_and_has_not_reported():
    table = InterestTable()
    table.report("n1", ["a", "b.#"], first=True, last=True)
    table.gained("n2", ["a"])

    table.forget("n1")

    assert table.wanted_by("a") == {"n2"}
    assert table.reported == set()
    assert len(table) == 1


def test_what_one_of_two_nodes_lost_the_other_still_wants():
    table = InterestTable()
    table.gained("n1", ["a", "b.*"])
    table.gained("n2", ["a", "b.*"])

    table.lost("n1", ["a", "b.*"])

    assert table.wanted_by("a") == table.wanted_by("b.c") == {"n2"}


CHANGE = st.tuples(st.sampled_from(["gained", "lost", "forget"]), st.sampled_from(["n1", "n2"]))


@given(st.lists(st.tuples(CHANGE, st.lists(PATTERN, max_size=5)), max_size=8))
def test_a_table_answers_as_a_list_of_all_that_is_wanted_would(changes):
    table = InterestTable()
    held: dict[tuple[str, tuple[str, ...]], int] = {}
    for serial, ((change, node), patterns) in enumerate(changes):
        texts = [".".join(pattern) for pattern in patterns]
        if change == "gained":
            table.gained(node, texts, serial)
            held = {(node, pattern): serial for pattern in patterns} | held
        elif change == "lost":
            table.lost(node, texts)
            held = {one: at for one, at in held.items() if one not in {(node, p) for p in patterns}}
        else:
            table.forget(node)
            held = {one: at for one, at in held.items() if one[0] != node}
    table.reported.add("n1")
    missed = table.missed_by("n1")

    assert sorted(table) == sorted((node, ".".join(pattern)) for node, pattern in held)
    for words in ALL_TOPICS[::2]:
        topic = ".".join(words)
        since = [(node, at) for (node, pattern), at in held.items() if covers(pattern, words)]
        assert table.wanted_by(topic) == {node for node, _ in since}
        for serial in range(0, len(changes) + 1, 2):
            before = {node for node, at in since if at < serial}
            assert table.wanted_at(topic, serial) == before
            assert missed(topic, serial) is ("n1" in before)

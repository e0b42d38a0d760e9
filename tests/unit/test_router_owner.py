"""Stories of one partition of the topics: router/commands.py."""

from typing import Any

import pytest

from router.commands import RouterOwner
from shared.messages import codec
from shared.messages.envelopes import (
    InterestGained,
    InterestLost,
    InterestReport,
    RouteBroadcast,
    Routed,
)
from shared.ownership.leases import LEASE_BEATS, Leases
from tests.unit.builders import Stage, life

N1, N2 = life("n1"), life("n2")


class Story(Stage):
    """A router's partition with two living nodes."""

    def __init__(self, *, first_reign: bool = True) -> None:
        self.leases = Leases()
        self.leases.renewed(N1)
        self.leases.renewed(N2)
        super().__init__(RouterOwner(self.leases, first_reign))

    def all_report(self, **patterns: list[str]) -> None:
        for sender in (N1, N2):
            report = InterestReport(patterns.get(sender.node_id, []), first=True, last=True)
            self.send(sender, report)

    @property
    def addressed(self) -> list[str]:
        return [to for to, _ in self.delivered]


def broadcast(message_id: str = "m", topic: str = "a", **fields: Any) -> RouteBroadcast:
    return RouteBroadcast(message_id, topic, b"1", from_user="alice", **fields)


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_broadcast_is_delivered_to_who_wants_it_and_its_sender_learns_who_will_report(story):
    story.all_report(n2=["a"])

    number = story.send(N1, broadcast(metadata=b'"x":1', except_connection="c1"), now_ms=5)

    [(to, delivery)] = story.delivered
    assert to == "inbox.n2.b1"
    assert (delivery.process, delivery.number) == (N1.process, number)
    assert (delivery.message_id, delivery.ask, delivery.report_to) == ("m", "m", "answers.n1")
    assert (delivery.payload, delivery.metadata, delivery.from_user) == (b"1", b'"x":1', "alice")
    assert (delivery.sent_at_ms, delivery.except_connection) == (5, "c1")
    assert story.answered == [("answers.n1", Routed("m", "m", ["n2"], complete=True))]


def test_a_broadcast_that_nobody_wants_is_answered(story):
    story.all_report()
    story.send(N1, broadcast())

    assert story.delivered == []
    assert story.answered == [("answers.n1", Routed("m", "m", [], complete=True))]


def test_an_announcement_asks_for_no_answer(story):
    story.all_report(n1=["presence.*"])
    story.send(N2, broadcast("", "presence.bob", presence=True, answer=False))

    assert story.delivered[0][1].report_to == ""
    assert story.answered == []


def test_interest_comes_and_goes_in_the_order_in_which_it_was_told(story):
    story.all_report()
    story.send(N1, InterestGained(["a"]))
    story.send(N2, broadcast("m1"))
    story.send(N1, InterestLost(["a"]))
    story.send(N2, broadcast("m2"))

    assert [one.message_id for _, one in story.delivered] == ["m1"]


def test_stamps_never_go_back_though_the_clock_does(story):
    story.all_report(n1=["a"])
    for now_ms in (10, 7, 12):
        story.send(N1, broadcast(), now_ms=now_ms)

    assert [one.sent_at_ms for _, one in story.delivered] == [10, 10, 12]


# ---- a new reign ---------------------------------------------------------------------------------


def test_a_new_reign_sends_everything_everywhere_until_it_has_heard_from_all():
    story = Story(first_reign=False)
    story.send(N1, broadcast())
    assert story.addressed == ["everyone"]
    assert story.answered == [("answers.n1", Routed("m", "m", ["n1", "n2"], complete=False))]

    story.clear()
    for beat in range(1, LEASE_BEATS + 2):
        story.leases.renewed(N1)
        story.leases.renewed(N2)
        story.leases.beat_returned(beat)
    story.send(N1, broadcast())
    assert story.addressed == ["inbox.n1.b1", "inbox.n2.b1"]

    story.clear()
    story.all_report(n2=["a"])
    story.send(N1, broadcast())
    assert story.addressed == ["inbox.n2.b1"]


# ---- repeats -------------------------------------------------------------------------------------


def test_a_repeated_broadcast_is_delivered_and_answered_again_under_its_number(story):
    story.all_report(n2=["a"])
    number = story.send(N1, broadcast())
    story.send(N1, broadcast(), number=number)

    (_, first), (_, second) = story.delivered
    assert first.number == second.number == number
    assert story.answered[0] == story.answered[1]


def test_a_repeated_fact_is_not_applied_twice(story):
    story.all_report()
    gained = story.send(N1, InterestGained(["a"]))
    story.send(N1, InterestLost(["a"]))
    story.send(N1, InterestGained(["a"]), number=gained)
    story.send(N2, broadcast())

    assert story.delivered == []


def test_numbers_are_each_process_own(story):
    story.all_report()
    story.send(N1, InterestGained(["a"]), number=50)
    story.send(N2, InterestGained(["a"]), number=3)
    story.send(N1, broadcast(), number=51)

    assert story.addressed == ["inbox.n1.b1", "inbox.n2.b1"]


def test_an_idempotency_key_asks_the_same_nodes_again_under_the_first_number_and_id(story):
    story.all_report(n1=["a"])
    number = story.send(N1, broadcast("first", idempotency_key="k"))
    story.send(N2, InterestGained(["a"]))
    story.clear()

    story.send(N2, broadcast("second", idempotency_key="k"))

    [(to, delivery)] = story.delivered
    assert to == "inbox.n1.b1"
    assert (delivery.process, delivery.number) == (N1.process, number)
    assert (delivery.message_id, delivery.ask, delivery.report_to) == (
        "first",
        "second",
        "answers.n2",
    )
    assert story.answered == [("answers.n2", Routed("second", "first", ["n1"], complete=True))]


def test_an_idempotency_key_is_its_users_own_and_ends_after_five_minutes(story):
    story.all_report(n1=["a"])
    story.send(N1, broadcast("first", idempotency_key="k"))
    other = RouteBroadcast("others", "a", b"1", from_user="eve", idempotency_key="k")
    story.send(N1, other)
    story.send(N1, broadcast("late", idempotency_key="k"), now_ms=300_001)

    assert [one.message_id for _, one in story.delivered] == ["first", "others", "late"]


def test_an_idempotency_key_whose_node_is_gone_is_answered_as_partial(story):
    story.all_report(n1=["a"], n2=["a"])
    story.send(N1, broadcast("first", idempotency_key="k"))
    story.leases.ended(N2, clean=True)
    story.owner.node_ended(N2, 0, clean=True)
    story.clear()

    story.send(N1, broadcast("second", idempotency_key="k"))

    assert story.addressed == ["inbox.n1.b1"]
    assert story.answered == [("answers.n1", Routed("second", "first", ["n1"], complete=False))]


# ---- troubles ------------------------------------------------------------------------------------


def test_a_node_whose_inbox_refuses_is_not_waited_for(story):
    story.all_report(n1=["a"], n2=["a"])
    story.full = {"inbox.n2.b1"}

    story.send(N1, broadcast())

    assert story.answered == [("answers.n1", Routed("m", "m", ["n1"], complete=False))]


def test_when_everyone_refuses_nobody_can_say_who_has_it():
    story = Story(first_reign=False)
    story.full = {"everyone"}

    story.send(N1, broadcast())

    [(_, routed)] = story.answered
    assert not routed.complete


def test_a_node_that_has_ended_gets_nothing_more(story):
    story.all_report(n1=["a"], n2=["a"])
    story.leases.ended(N2, clean=False)
    story.owner.node_ended(N2, 0, clean=False)

    story.send(N1, broadcast())

    assert story.addressed == ["inbox.n1.b1"]


def test_facts_of_a_life_that_is_over_are_ignored_but_its_broadcasts_are_not(story):
    story.all_report()
    story.leases.renewed(life("n1", "b2"))
    story.owner.node_ended(N1, 0, clean=True)
    story.send(life("n1", "b2"), InterestReport([], first=True, last=True))

    story.send(N1, InterestGained(["a"]))
    story.send(N1, broadcast())

    assert story.delivered == []
    assert len(story.answered) == 1


def test_what_cannot_be_read_changes_nothing_and_uses_up_no_number(story):
    story.all_report(n1=["a"])
    with pytest.raises(codec.Undecodable):
        story.owner.perform(N1, "answers.n1", 99, b"\xc1", 0)
    assert story.owner.take() is None

    story.send(N1, InterestLost(["a"]), number=2)
    story.send(N2, broadcast())

    assert story.delivered == []


def test_an_owner_with_nothing_to_publish_says_so(story):
    story.owner.tick(0)

    assert story.owner.take() is None

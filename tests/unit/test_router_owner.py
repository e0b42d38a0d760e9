"""Stories of one partition of the topics: router/commands.py."""

from typing import Any

import pytest

from router.commands import RouterOwner
from router.core.namespaces import Namespaces
from router.core.retention import Retention
from shared.messages import codec
from shared.messages.answers import Routed
from shared.messages.deliveries import ReplayEnded
from shared.messages.envelopes import (
    HistoryAsked,
    InterestGained,
    InterestLost,
    InterestReport,
    RecoveryAsked,
    ReplayAsked,
    RouteBroadcast,
    Sender,
)
from shared.messages.forms import Form
from shared.messages.records import KeyUsed, Met, Parted, Published
from shared.ownership.leases import Leases
from tests.unit.builders import Stage, life

N1, N2 = life("n1"), life("n2")
KEPT = Retention(messages=3, seconds=300)
NAMESPACES = Namespaces({"off.#": Retention(0, 0), "#": KEPT, "presence.#": KEPT})
MINUTE_MS = 60_000


class Story(Stage):
    """A router's partition with two living nodes; it holds three messages of every topic."""

    def __init__(self, *, after: "Story | None" = None, now_ms: int = 0) -> None:
        self.leases = Leases()
        self.leases.renewed(N1)
        self.leases.renewed(N2)
        super().__init__(RouterOwner(self.leases, NAMESPACES), after=after, now_ms=now_ms)

    def all_report(self, **patterns: list[str]) -> None:
        for sender in (N1, N2):
            report = InterestReport(patterns.get(sender.node_id, []), first=True, last=True)
            self.send(sender, report)

    def ends(self, sender: Sender, *, clean: bool = False) -> None:
        self.leases.ended(sender, clean=clean)
        self.owner.node_ended(sender, 0, clean=clean)
        self.publish()

    def ask(self, question: object, *, now_ms: int = 0) -> list[Any]:
        """Have n1 ask; return what it was answered."""
        before = len(self.answered)
        self.send(N1, question, now_ms=now_ms)
        return [answer for _, answer in self.answered[before:]]

    @property
    def addressed(self) -> list[str]:
        return [to for to, _ in self.delivered]

    @property
    def places(self) -> list[tuple[int, str, int]]:
        """Where each delivery has its place: serial, epoch, offset."""
        return [(one.serial, one.epoch, one.offset) for _, one in self.delivered]

    @property
    def published(self) -> list[str]:
        """The ids of the broadcasts that a successor is told of."""
        return [one.message_id for one in self.records if isinstance(one, Published)]


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
    story.send(N2, broadcast("", "presence.bob", form=Form.PRESENCE, answer=False))

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
        story.send(N1, broadcast(f"m{now_ms}"), now_ms=now_ms)

    assert [one.sent_at_ms for _, one in story.delivered] == [10, 10, 12]


# ---- a new reign ---------------------------------------------------------------------------------


def test_a_new_reign_sends_everything_to_every_node_until_that_one_has_reported(story):
    story.send(N1, broadcast())
    assert story.addressed == ["inbox.n1.b1", "inbox.n2.b1"]
    assert story.answered == [("answers.n1", Routed("m", "m", ["n1", "n2"], complete=True))]

    story.clear()
    story.send(N1, InterestReport([], first=True, last=False))
    story.send(N2, InterestReport([], first=True, last=True))
    story.send(N1, broadcast())
    assert story.addressed == ["inbox.n1.b1"]

    story.clear()
    story.send(N1, InterestReport([], first=False, last=True))
    story.send(N1, broadcast())
    assert story.addressed == []


@pytest.mark.parametrize("how", ["from the beginning", "from a checkpoint"])
def test_a_new_owner_knows_the_lives_that_have_reported_and_are_not_over(story, how):
    story.all_report()
    story.all_report()
    story.ends(N2)
    reborn = life("n2", "b2")
    story.leases.renewed(reborn)
    story.send(reborn, InterestReport([], first=True, last=True))
    story.ends(N1)
    assert story.records == [Met(N1), Met(N2), Parted(N2), Met(reborn), Parted(N1)]

    if how == "from a checkpoint":
        story.checkpoint()

    assert Story(after=story).owner.lives == {"n2": reborn}


@pytest.mark.parametrize("how", ["from the beginning", "from a checkpoint"])
def test_a_new_owner_knows_the_inboxes_that_have_missed_something(story, how):
    for inbox in ("inbox.n1.b1", "inbox.n2.b1", "inbox.n1.b1"):
        story.owner.fell_behind(inbox)
    story.owner.caught_up("inbox.n1.b1")
    story.publish()
    assert len(story.log) == 3
    if how == "from a checkpoint":
        story.checkpoint()

    assert Story(after=story).owner.behind == {"inbox.n2.b1"}


def test_the_end_of_a_life_that_never_reported_is_nothing_to_write_down(story):
    story.ends(N2)

    assert story.log == []


# ---- repeats -------------------------------------------------------------------------------------


def test_a_repeated_broadcast_is_delivered_and_answered_again_under_its_number(story):
    story.all_report(n2=["a"])
    number = story.send(N1, broadcast())
    story.send(N1, broadcast(), number=number)

    (_, first), (_, second) = story.delivered
    assert first.number == second.number == number
    assert story.answered[0] == story.answered[1]


def test_a_repeat_goes_to_nobody_who_came_to_want_it_later(story):
    story.all_report(n2=["a"])
    number = story.send(N1, broadcast())
    story.send(N1, InterestGained(["a"]))
    story.clear()

    story.send(N1, broadcast(), number=number)
    story.send(N1, broadcast("next"))

    assert [(to, one.message_id) for to, one in story.delivered] == [
        ("inbox.n2.b1", "m"),
        ("inbox.n1.b1", "next"),
        ("inbox.n2.b1", "next"),
    ]
    assert story.answered[0] == ("answers.n1", Routed("m", "m", ["n2"], complete=True))


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


@pytest.mark.parametrize("topic", ["a", "off.a"])
@pytest.mark.parametrize("takeover", [False, True])
def test_an_idempotency_key_delivers_again_under_the_first_number_and_id(story, topic, takeover):
    story.all_report(n1=[topic])
    number = story.send(N1, broadcast("first", topic, idempotency_key="k"))
    first_places = story.places
    if takeover:
        story = Story(after=story)
        story.all_report(n1=[topic])
    story.clear()

    story.send(N2, broadcast("second", topic, idempotency_key="k"))

    [(to, delivery)] = story.delivered
    assert to == "inbox.n1.b1"
    assert story.places == first_places
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


# ---- troubles ------------------------------------------------------------------------------------


def test_a_node_whose_inbox_refuses_is_not_waited_for(story):
    story.all_report(n1=["a"], n2=["a"])
    story.full = {"inbox.n2.b1"}

    story.send(N1, broadcast())

    assert story.answered == [("answers.n1", Routed("m", "m", ["n1"], complete=False))]


def test_a_node_that_has_ended_gets_nothing_more(story):
    story.all_report(n1=["a"], n2=["a"])
    story.ends(N2)

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


# ---- places in the history (H2) ------------------------------------------------------------------


def test_what_is_kept_gets_its_place_in_the_partition_and_in_its_topic(story):
    story.all_report(n1=["#"])
    for number, topic in enumerate(("a", "b", "a"), 1):
        story.send(N1, broadcast(f"m{number}", topic))

    assert story.places == [(1, "log", 1), (2, "log", 1), (3, "log", 2)]


@pytest.mark.parametrize(
    "passing",
    [
        broadcast("passing", ttl=0),
        broadcast("passing", "presence.bob", form=Form.PRESENCE, answer=False),
        broadcast("passing", "off.a"),
    ],
    ids=["live only", "presence", "without history"],
)
def test_what_is_not_kept_takes_no_place_and_is_not_written_down(story, passing):
    story.all_report(n1=["#", "presence.*", "off.a"])
    story.send(N1, broadcast("before"))
    story.send(N1, passing)
    story.send(N1, broadcast("after"))

    assert story.places == [(1, "log", 1), (0, "", 0), (2, "log", 2)]
    assert story.published == ["before", "after"]


def test_a_key_is_written_down_though_the_message_is_not_kept(story):
    number = story.send(N1, broadcast("first", "off.a", idempotency_key="k"), now_ms=7)

    assert story.records == [KeyUsed("alice", "off.a\nk", "first", N1.process, number, 7)]


@pytest.mark.parametrize("how", ["from the beginning", "from a checkpoint"])
def test_a_new_owner_goes_on_counting_where_the_last_one_was(story, how):
    for number, topic in enumerate(("a", "b", "a"), 1):
        story.send(N1, broadcast(f"m{number}", topic), now_ms=9)
    if how == "from a checkpoint":
        story.checkpoint()

    story = Story(after=story)
    for number, topic in enumerate(("a", "c"), 4):
        story.send(N1, broadcast(f"m{number}", topic), now_ms=5)

    assert story.places[::2] == [(4, "log", 3), (5, "log", 1)]
    assert [one.sent_at_ms for _, one in story.delivered] == [9] * 4


@pytest.mark.parametrize("how", ["same owner", "from the beginning", "from a filled checkpoint"])
def test_a_repeat_is_delivered_in_its_first_place_with_its_first_stamp(story, how):
    story.all_report(n1=["a"])
    number = story.send(N1, broadcast("first"), now_ms=5)
    story.send(N2, broadcast("other"), now_ms=6)
    expected = story.delivered[:1]
    if how == "from a filled checkpoint":
        story.checkpoint()
    if how != "same owner":
        story = Story(after=story)
        story.fill()
        story.all_report(n1=["a"])
    story.clear()
    logged = len(story.log)

    story.send(N1, broadcast("first"), number=number, now_ms=90)

    assert story.delivered == expected
    assert len(story.log) == logged


def test_before_the_history_is_filled_a_repeat_is_delivered_again_without_a_place(story):
    """It needs a checkpoint between the append and the acknowledgement."""
    number = story.send(N1, broadcast("first"), now_ms=5)
    story.checkpoint()

    story = Story(after=story)
    logged = len(story.log)
    story.send(N1, broadcast("first"), number=number, now_ms=90)

    assert {(one.message_id, one.number) for _, one in story.delivered} == {("first", number)}
    assert set(story.places) == {(0, "", 0)}
    assert story.owner.serial == 1
    assert len(story.log) == logged


def test_a_message_is_written_down_before_its_key_which_is_made_good_if_it_was_lost(story):
    """The owner may die between the two records: they may be in different batches of the log."""
    number = story.send(N1, broadcast("first", idempotency_key="k"), now_ms=5)
    used = KeyUsed("alice", "a\nk", "first", N1.process, number, 5)
    assert story.records[-1] == used
    story.log.pop()

    story = Story(after=story)
    story.send(N1, broadcast("first", idempotency_key="k"), number=number, now_ms=5)

    assert story.published == ["first"]
    assert story.records[-1] == used


@pytest.mark.parametrize("how", ["same owner", "from the beginning", "from a checkpoint"])
def test_an_evicted_broadcast_that_is_repeated_is_delivered_but_not_kept_again(story, how):
    number = story.send(N1, broadcast("first"))
    for n in range(3):
        story.send(N2, broadcast(f"other{n}"))
    if how == "from a checkpoint":
        story.checkpoint()
    if how != "same owner":
        story = Story(after=story)
    story.clear()

    story.send(N1, broadcast("first"), number=number)

    assert {(one.message_id, one.number) for _, one in story.delivered} == {("first", number)}
    assert story.owner.serial == 4


# ---- what is asked of the history ----------------------------------------------------------------


def test_a_page_of_history_is_answered(story):
    for message_id in ("m1", "m2"):
        story.send(N2, broadcast(message_id), now_ms=5)

    [page] = story.ask(HistoryAsked("h", "a", 10, after=1))

    assert (page.ask, page.epoch, page.offset, page.complete) == ("h", "log", 2, True)
    assert [(one.message_id, one.offset, one.replayed) for one in page.messages] == [
        ("m2", 2, False)
    ]


def test_what_a_client_has_missed_is_answered_as_replayed(story):
    for message_id in ("m1", "m2"):
        story.send(N2, broadcast(message_id), now_ms=5)

    [recovered] = story.ask(RecoveryAsked("r", "a", position=("log", 1)), now_ms=6)

    assert (recovered.ask, recovered.recovered, recovered.more) == ("r", True, False)
    assert [(one.message_id, one.replayed) for one in recovered.messages] == [("m2", True)]


def test_a_node_is_given_again_what_it_wants_behind_a_serial_and_told_when_that_is_all(story):
    story.all_report(n1=["a"], n2=["b"])
    for number, topic in enumerate(("a", "a", "b", "a"), 1):
        story.send(N2, broadcast(f"m{number}", topic))
    story.clear()

    story.send(N1, ReplayAsked(7, 1))

    assert set(story.addressed) == {"inbox.n1.b1"}
    *again, ended = [one for _, one in story.delivered]
    assert [(one.message_id, one.serial, one.replayed) for one in again] == [
        ("m2", 2, True),
        ("m4", 4, True),
    ]
    assert all(one.report_to == "" for one in again)
    assert ended == ReplayEnded(7, lost=0)


def test_a_node_is_told_how_much_of_what_it_missed_is_not_held_any_more(story):
    story.all_report(n1=["a"])
    for n in range(5):
        story.send(N2, broadcast(f"m{n}"))
    story.clear()

    story.send(N1, ReplayAsked(7, 0))

    assert [one.serial for _, one in story.delivered[:-1]] == [3, 4, 5]
    assert story.delivered[-1] == ("inbox.n1.b1", ReplayEnded(7, lost=2))


def test_a_life_that_is_over_is_given_nothing_again(story):
    story.send(N2, broadcast())
    story.leases.renewed(life("n1", "b2"))
    story.owner.node_ended(N1, 0, clean=True)
    story.clear()

    story.send(N1, ReplayAsked(7, 0))

    assert story.delivered == []


def test_a_node_that_has_not_reported_in_this_reign_is_given_everything_again(story):
    """Unsure means send everything."""
    story.all_report(n1=["a"])
    story.send(N2, broadcast())

    story = Story(after=story)
    story.send(N1, ReplayAsked(7, 0))

    assert [one.serial for _, one in story.delivered[:-1]] == [1]


@pytest.mark.parametrize(
    "question", [HistoryAsked("q", "a", 10), RecoveryAsked("q", "a", since_ms=5000)]
)
def test_a_question_waits_until_the_history_is_whole(story, question):
    story.send(N2, broadcast("m1"), now_ms=5000)
    expected = story.ask(question, now_ms=6000)
    story.checkpoint()

    story = Story(after=story, now_ms=6000)
    assert story.ask(question, now_ms=6000) == []
    story.fill(6000)

    assert [answer for _, answer in story.answered] == expected
    assert story.ask(question, now_ms=6000) == expected


def test_a_replay_waits_until_the_history_is_whole(story):
    story.send(N2, broadcast("m1"))
    story.checkpoint()

    story = Story(after=story)
    story.all_report(n1=["a"])
    story.send(N1, ReplayAsked(7, 0))
    assert story.delivered == []
    story.fill()

    assert [one.message_id for _, one in story.delivered[:-1]] == ["m1"]
    assert story.delivered[-1][1] == ReplayEnded(7, lost=0)


def test_a_history_that_was_read_from_the_beginning_is_whole_at_once(story):
    story.send(N2, broadcast("m1"))

    story = Story(after=story)

    assert story.wants_from_ms is None
    [page] = story.ask(HistoryAsked("q", "a", 10))
    assert [one.message_id for one in page.messages] == ["m1"]


def test_older_messages_are_wanted_as_far_back_as_any_are_kept_and_clocks_may_differ(story):
    story.send(N2, broadcast())
    story.checkpoint()

    assert Story(after=story, now_ms=1_000_000).wants_from_ms == 1_000_000 - 300_000 - MINUTE_MS


def test_nobody_is_told_that_they_have_recovered_what_expired_before_the_takeover(story):
    story.send(N2, broadcast("m1"), now_ms=10_000)
    story.checkpoint()
    later_ms = 10 * MINUTE_MS

    story = Story(after=story, now_ms=later_ms)
    story.before = story.log = []  # what is that old is not read again
    story.fill(later_ms)

    [answer] = story.ask(RecoveryAsked("q", "a", since_ms=9_000), now_ms=later_ms)
    assert not answer.recovered


def test_ticks_let_go_what_history_may_not_hold_any_longer(story):
    story.send(N2, broadcast(), now_ms=0)
    story.owner.tick(299_999)
    assert len(story.owner.history) == 1

    story.owner.tick(310_000)

    assert len(story.owner.history) == 0


# ---- marks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fact", [InterestGained(["a"]), InterestReport(["a"], first=True, last=True)]
)
def test_whose_interest_is_new_is_told_how_far_the_partition_has_come(story, fact):
    story.send(N1, fact)

    assert story.marked == {"inbox.n1.b1"}

"""What a node has been handed of each partition, and what it asks for again: core/gaps.py."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import gaps as gaps_module
from gateway.core.gaps import MAX_HELD, PATIENCE, Arrival, Gaps, Item
from shared.messages.deliveries import DeliveryBatch, ReplayEnded, TopicDelivery
from shared.messages.envelopes import ReplayAsked
from tests.unit.builders import topic_delivery


def kept(serial: int, *, replayed: bool = False) -> TopicDelivery:
    return topic_delivery(message_id=f"kept {serial}", serial=serial, replayed=replayed)


def live(name: str) -> TopicDelivery:
    return topic_delivery(message_id=name, serial=0)


def again(*serials: int, ask: int = 1, lost: int = 0) -> list[Item]:
    """What answers a node's question."""
    return [*(kept(serial, replayed=True) for serial in serials), ReplayEnded(ask, lost)]


def names(deliveries: list[TopicDelivery]) -> list[int | str]:
    return [one.serial or one.message_id for one in deliveries]


@dataclass
class Node:
    """A node's counts, fed with batches."""

    gaps: Gaps = field(default_factory=Gaps)
    heard: list[int | str] = field(default_factory=list)
    lost: int = 0
    now: float = 100.0

    def take(
        self, sequence: int, *items: Item, term: int = 1, serial: int = 0, partition: int = 0
    ) -> Arrival:
        batch = DeliveryBatch(partition, term, sequence, serial, [])
        arrival = self.gaps.take(batch, list(items), now=self.now)
        self.heard += names(arrival.deliver)
        self.lost += arrival.lost
        return arrival

    def mark(self, sequence: int, serial: int, *, term: int = 1) -> Arrival:
        return self.take(sequence, serial=serial, term=term)


# ---- what comes in order -------------------------------------------------------------------------


def test_what_comes_without_a_hole_is_delivered_at_once():
    node = Node()
    for sequence in (1, 2, 3):
        assert node.take(sequence, kept(sequence), live(f"l{sequence}")).ask is None

    assert node.heard == [1, "l1", 2, "l2", 3, "l3"]


def test_partitions_are_counted_each_on_its_own():
    node = Node()
    node.take(1, kept(1))
    assert node.take(1, kept(1), partition=1).ask is None
    assert node.take(3, kept(3)).ask == ReplayAsked(1, 1)


def test_what_a_reign_that_is_over_says_is_outdated():
    node = Node()
    node.take(1, kept(1), term=2)

    outdated = node.gaps.is_outdated
    assert outdated(DeliveryBatch(0, 1, 9, 9, []))
    assert not outdated(DeliveryBatch(0, 2, 9, 9, []))
    assert not outdated(DeliveryBatch(1, 1, 1, 1, []))


# ---- holes ---------------------------------------------------------------------------------------


def test_at_a_hole_everything_waits_until_the_replay_has_ended():
    node = Node()
    node.take(1, kept(1))
    assert node.take(3, kept(3)).ask == ReplayAsked(1, 1)
    node.take(4, live("after"))
    assert node.heard == [1]

    node.take(5, *again(2, 3), serial=3)
    assert node.heard == [1, 2, 3, "after"]
    assert node.take(6, kept(4)).ask is None
    assert node.heard[-1] == 4


def test_what_was_sent_again_and_came_late_is_put_in_its_place_and_each_copy_is_handed_on():
    node = Node()
    node.take(1, kept(1))
    node.take(3, kept(4))
    node.take(4, kept(3), live("l"), kept(3))

    node.take(5, *again(2, 3, 4), serial=4)
    assert node.heard == [1, 2, 3, 4, "l", 3]


def test_a_mark_shows_that_the_tail_is_missing():
    node = Node()
    node.take(1, kept(1), serial=1)
    assert node.mark(1, 1).ask is None
    assert node.mark(2, 2).ask == ReplayAsked(1, 1)

    node.take(3, *again(2), serial=2)
    assert node.heard == [1, 2]


def test_a_mark_tells_from_where_to_ask_later():
    node = Node()
    node.mark(0, 40)
    assert node.take(2, kept(42)).ask == ReplayAsked(1, 40)


def test_what_is_lost_for_good_is_counted():
    node = Node()
    node.take(1, kept(1))
    node.take(3, kept(9))
    node.take(4, *again(8, 9, lost=6))

    assert node.heard == [1, 8, 9]
    assert node.lost == 6


def test_a_hole_within_a_replay_is_asked_for_again_and_all_waits_for_both():
    node = Node()
    node.take(1, kept(1))
    node.take(3, kept(3))
    assert node.take(5, kept(5)).ask == ReplayAsked(2, 1)
    node.take(6, *again(2, 3))
    assert node.heard == [1]
    node.take(7, *again(2, 3, 4, 5, ask=2))

    assert node.heard == [1, 2, 3, 4, 5]


def test_a_replay_that_was_lost_itself_does_not_hold_up_the_next_one():
    """An inbox that is full may well refuse the replay, too."""
    node = Node()
    node.take(1, kept(1))
    node.take(3, kept(3))
    assert node.take(5, kept(4)).ask == ReplayAsked(2, 1)  # the end of the first one has gone
    node.take(6, *again(2, 3, 4, ask=2), serial=4)

    assert node.heard == [1, 2, 3, 4]


def test_a_live_only_broadcast_does_not_come_before_what_was_said_before_it():
    """The numbers of one speaker's broadcasts rise: who hears a later one first drops the other."""
    node = Node()
    node.take(1, topic_delivery(message_id="a", serial=1, number=1))
    node.take(3, topic_delivery(message_id="c", serial=0, number=3))
    missed = topic_delivery(message_id="b", serial=2, number=2, replayed=True)
    arrival = node.take(4, missed, *again())

    assert [one.message_id for one in arrival.deliver] == ["b", "c"]


# ---- another reign, another inbox ----------------------------------------------------------------


def test_a_new_reign_counts_from_one():
    node = Node()
    node.take(1, kept(1), term=1)
    node.take(2, kept(2), term=1)
    assert node.take(1, kept(3), term=2).ask is None
    assert node.take(3, kept(5), term=2).ask == ReplayAsked(1, 3)


def test_what_the_last_reign_could_not_deliver_is_asked_of_the_next():
    """The owner knows from its log whose inbox refused a batch, and begins to count at one."""
    node = Node()
    node.take(1, kept(1), term=1, serial=1)
    assert node.mark(1, 5, term=2).ask == ReplayAsked(1, 1)


def test_a_replay_asked_of_one_reign_may_come_from_the_next():
    node = Node()
    node.take(1, kept(1), term=1)
    node.take(3, kept(3), term=1)
    node.take(1, *again(2, 3), term=2)

    assert node.heard == [1, 2, 3]


def test_with_a_new_inbox_every_known_partition_is_asked_for_and_what_was_held_is_let_go():
    node = Node()
    node.take(1, kept(1))
    node.take(1, kept(7), partition=1)
    node.take(3, kept(3))

    assert node.gaps.begin(now=node.now) == {0: ReplayAsked(2, 1), 1: ReplayAsked(1, 7)}
    node.take(1, kept(4), term=1)
    node.take(2, *again(2, 3, 4), term=1)
    assert node.heard == [1, 7]  # that was what the old inbox had asked for
    node.take(3, *again(2, 3, 4, ask=2), term=1)
    assert node.heard == [1, 7, 2, 3, 4]


# ---- patience ------------------------------------------------------------------------------------


def test_a_replay_may_take_its_time_while_nothing_is_held_for_it():
    """Nobody may be there to answer; when somebody is, nothing is given up."""
    node = Node()
    node.take(1, kept(1), serial=1)
    node.mark(3, 3)
    node.now += 10 * PATIENCE

    assert node.gaps.overdue(now=node.now) == []
    node.take(4, kept(4))
    assert node.gaps.overdue(now=node.now + PATIENCE) == []
    node.take(5, *again(2, 3))
    assert node.heard == [1, 2, 3, 4]


def test_nobody_waits_for_ever_for_a_replay():
    node = Node()
    node.take(1, kept(1))
    node.take(3, kept(3))
    assert not node.gaps.overdue(now=node.now + PATIENCE)

    [(partition, deliveries, asked_at)] = node.gaps.overdue(now=node.now + PATIENCE + 1)
    assert (partition, names(deliveries), asked_at) == (0, [3], node.now)
    node.take(4, kept(4))
    node.take(5, *again(2, 3))
    assert node.heard == [1, 4]


def test_not_more_is_held_than_memory_allows(monkeypatch: pytest.MonkeyPatch):
    assert MAX_HELD == 10_000
    monkeypatch.setattr(gaps_module, "MAX_HELD", 3)
    node = Node()
    node.take(1, kept(1))
    for sequence in range(3, 6):
        node.take(sequence, kept(sequence))
    assert node.heard == [1]

    node.take(6, kept(6))
    assert node.heard == [1, 3, 4, 5, 6]


def test_nor_more_bytes_however_few_deliveries_these_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gaps_module, "MAX_HELD_BYTES", 2 * len(kept(1).payload))
    node = Node()
    node.take(1, kept(1))
    for sequence in (3, 4):
        node.take(sequence, kept(sequence))
    assert node.heard == [1]

    node.take(5, kept(5))
    assert node.heard == [1, 3, 4, 5]


# ---- any loss ------------------------------------------------------------------------------------


@dataclass
class Owner:
    """Counts and keeps like an owner; what it hands to the node may be lost on the way."""

    node: Node
    kept: list[int] = field(default_factory=list)
    spoken: int = 0
    reached: list[str] = field(default_factory=list)
    """Live-only broadcasts that got through."""

    asked: list[ReplayAsked] = field(default_factory=list)
    sequence: int = 0
    term: int = 1

    def hand(self, items: list[Item], *, lost: bool) -> None:
        self.sequence += bool(items)
        if lost:
            return
        come = [one for one in items if isinstance(one, TopicDelivery) and not one.serial]
        self.reached += [one.message_id for one in come]
        serial = len(self.kept)
        arrival = self.node.take(self.sequence, *items, term=self.term, serial=serial)
        if arrival.ask is not None:
            self.asked.append(arrival.ask)

    def say(self, what: str, *, lost: bool) -> None:
        if what == "k":
            self.kept.append(len(self.kept) + 1)
            self.hand([kept(self.kept[-1])], lost=lost)
        else:
            self.spoken += 1
            self.hand([live(f"live {self.spoken}")], lost=lost)

    def answer(self, *, lost: bool) -> None:
        if self.asked:
            one = self.asked.pop(0)
            self.hand(again(*self.kept[one.after_serial :], ask=one.ask), lost=lost)

    def follow(self) -> None:
        """Another reign begins, and all its predecessor's deliveries had been taken."""
        self.hand([], lost=False)
        while self.asked:
            self.answer(lost=False)
        self.term, self.sequence = self.term + 1, 0


STEP = st.tuples(st.sampled_from("klamt"), st.booleans())


@given(st.lists(STEP, max_size=40))
def test_whatever_is_lost_on_the_way_all_that_was_kept_comes_once_and_in_order(
    steps: list[tuple[str, bool]],
) -> None:
    owner = Owner(Node())
    for what, lost in steps:
        if what in "kl":
            owner.say(what, lost=lost)
        elif what == "a":
            owner.answer(lost=lost)
        elif what == "t":
            owner.follow()
        else:
            owner.hand([], lost=False)
    for _ in range(len(steps) + 2):
        owner.hand([], lost=False)
        owner.answer(lost=False)

    heard = owner.node.heard
    assert [one for one in heard if isinstance(one, int)] == owner.kept
    assert [one for one in heard if isinstance(one, str)] == owner.reached

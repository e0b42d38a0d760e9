"""What is kept of what was said (H1 to H4): router/core/history.py."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.core.history import History, Missed
from router.core.retention import FRAME_BYTES, Bounds, Place, Retention
from shared.messages.forms import Form
from shared.messages.records import HistoryReached, Published, TopicReached
from shared.topics.pattern import contains, overlaps, parse_pattern

START_MS = 1_700_000_000_000
LONG = Retention(messages=100, seconds=300)
LOG = "log"


def published(serial: int, topic: str, offset: int, **fields) -> Published:
    given = {
        "serial": serial,
        "process": "n1-p1",
        "number": serial,
        "message_id": f"broadcast_{serial}",
        "topic": topic,
        "epoch": LOG,
        "offset": offset,
        "sent_at_ms": START_MS,
        "payload": b"1",
        "metadata": b"",
        "from_user": "alice",
    }
    return Published(**{**given, **fields})


class Partition:
    """A history, a clock, and the log of all that was ever said; it may change its owner."""

    def __init__(
        self, retention: Retention | Callable[[str], Retention] = LONG, **settings
    ) -> None:
        self.now_ms = START_MS
        self.log: list[Published] = []
        self._settings = settings
        self._retention = (lambda _: retention) if isinstance(retention, Retention) else retention
        self.history = self.make(LOG)
        self.older: History | None = None
        self.checkpoint()

    def make(self, epoch: str = "") -> History:
        return History(self._retention, epoch, **self._settings)

    def say(self, topic: str = "chat", *, after_ms: int = 1, **fields) -> Published:
        self.now_ms += after_ms
        place = self.history.next_place(topic)
        given = {"epoch": place.epoch, "sent_at_ms": self.now_ms, **fields}
        self.log.append(published(place.serial, topic, place.offset, **given))
        self.history.append(self.log[-1], self.now_ms)
        return self.log[-1]

    def say_often(self, times: int, topic: str = "chat", **fields) -> list[Published]:
        return [self.say(topic, **fields) for _ in range(times)]

    def pass_time(self, ms: int) -> None:
        """The owner's tick goes with it."""
        self.now_ms += ms
        self.history.sweep(self.now_ms)

    # ---- what one may ask ----

    def page(self, topic: str = "chat", *, limit: int = 50, **asked):
        return self.history.page(topic, limit=limit, now_ms=self.now_ms, **asked)

    def offsets(self, topic: str = "chat", **asked) -> tuple[list[int], bool]:
        page = self.page(topic, **asked)
        return [one.offset for one in page.messages], page.complete

    def missed(self, text: str = "chat", **asked) -> Missed:
        return self.history.missed(parse_pattern(text), now_ms=self.now_ms, **asked)

    def missed_since(self, sent_at_ms: int, text: str = "chat") -> list[int] | None:
        """Ask for exactly what was sent from here on; the serials, or None if not recovered."""
        missed = self.missed(text, since_ms=sent_at_ms + 2000)
        return serials(missed.messages) if missed.recovered else None

    def missed_behind(self, epoch: str, offset: int, topic: str = "chat") -> list[int] | None:
        missed = self.missed(topic, position=(epoch, offset))
        return serials(missed.messages) if missed.recovered else None

    # ---- a change of owner ----

    def checkpoint(self) -> None:
        self._written, self._behind = list(self.history.checkpoint()), len(self.log)

    def change_owner(self, read_from: int = 0) -> None:
        """Begin at the last checkpoint; before it, the log can be read from here on."""
        self.history = self.make()
        for record in self._written:
            self.history.restore(record)
        for one in self.log[self._behind :]:
            self.history.append(one, one.sent_at_ms)
        self.older = self.make()
        if read_from:
            self.older.began(self.log[read_from - 1].sent_at_ms + 1)
        for one in self.log[read_from : self._behind]:
            self.older.append(one, one.sent_at_ms)

    def fill(self) -> None:
        if self.older is not None:
            self.history.fill(self.older)
        self.older = None


def serials(messages: list[Published]) -> list[int]:
    return [one.serial for one in messages]


# ---- counting ------------------------------------------------------------------------------------


def test_broadcasts_are_counted_by_topic_and_all_together():
    chat = Partition()
    said = [chat.say(topic) for topic in ("a", "b", "a")]

    assert [(one.topic, one.offset, one.serial) for one in said] == [
        ("a", 1, 1),
        ("b", 1, 2),
        ("a", 2, 3),
    ]
    assert len(chat.history) == 3
    assert chat.history.topics == 2
    assert chat.history.size == 3
    assert chat.history.sent_at_ms == chat.now_ms


def test_asking_for_the_next_place_takes_no_place():
    history = History(lambda _: LONG, LOG)

    assert history.next_place("a") == history.next_place("a") == Place(LOG, 1, 1)
    assert history.topics == 0


def test_what_is_known_is_not_taken_in_again():
    chat = Partition()
    first, second = chat.say_often(2)
    for one in (first, second):
        chat.history.append(one, chat.now_ms)

    assert len(chat.history) == 2
    assert chat.history.next_place("chat") == Place(LOG, 3, 3)


def test_a_message_is_found_while_it_is_held():
    chat = Partition(Retention(messages=1, seconds=300))
    first = chat.say()
    assert chat.history.find("chat", first.message_id) == first
    assert chat.history.find("news", first.message_id) is None

    chat.say()
    assert chat.history.find("chat", first.message_id) is None


def test_of_a_message_that_was_published_twice_the_later_one_is_found_until_it_goes():
    chat = Partition(Retention(messages=2, seconds=300))
    chat.say(message_id="twice")
    again = chat.say(message_id="twice")
    chat.say()

    assert chat.history.find("chat", "twice") == again
    chat.say()
    assert chat.history.find("chat", "twice") is None


def test_what_does_not_follow_begins_the_topic_anew():
    """A log that has another epoch, or a hole, is believed; what it held before is lost."""
    chat = Partition()
    first = chat.say()
    chat.history.append(published(2, "chat", 1, epoch="log.1", sent_at_ms=chat.now_ms + 1), 0)

    assert chat.offsets() == ([1], True)
    assert chat.missed_behind(LOG, 1) is None
    assert chat.missed_behind("log.1", 0) == [2]
    assert chat.missed_since(first.sent_at_ms) is None
    assert chat.missed_since(first.sent_at_ms + 1) == [2]
    assert chat.history.epoch == "log.1"

    part = chat.missed(since_ms=0, after_serial=1)
    assert (part.recovered, serials(part.messages)) == (True, [2])

    hole_ms = chat.now_ms + 5
    chat.history.append(published(5, "chat", 4, epoch="log.1", sent_at_ms=hole_ms), 0)
    assert chat.offsets() == ([4], False)
    assert chat.missed_behind("log.1", 1) is None
    assert chat.missed_since(hole_ms) is None
    assert chat.missed_since(hole_ms + 1) == []


# ---- a page (H1) ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "offsets", "complete"),
    [
        # without a place: the last ones, in order
        ({}, [1, 2, 3, 4, 5], True),
        ({"limit": 2}, [4, 5], False),
        ({"reverse": True}, [5, 4, 3, 2, 1], True),
        ({"reverse": True, "limit": 2}, [5, 4], False),
        # on from a place
        ({"after": 0}, [1, 2, 3, 4, 5], True),
        ({"after": 2}, [3, 4, 5], True),
        ({"after": 2, "limit": 2}, [3, 4], False),
        ({"after": 5}, [], True),
        # back from a place
        ({"before": 4}, [1, 2, 3], True),
        ({"before": 4, "limit": 2}, [2, 3], False),
        ({"before": 4, "limit": 2, "reverse": True}, [3, 2], False),
        ({"before": 1}, [], True),
        ({"before": 9}, [1, 2, 3, 4, 5], True),
        # between two
        ({"after": 1, "before": 4}, [2, 3], True),
        ({"after": 1, "before": 5, "limit": 2}, [2, 3], False),
        ({"after": 1, "before": 5, "limit": 2, "reverse": True}, [4, 3], False),
        ({"after": 3, "before": 4}, [], True),
        # from a place that this epoch has not reached
        ({"after": 6}, [], False),
    ],
)
def test_a_page_is_what_was_asked_for_or_its_part_nearest_to_the_place(asked, offsets, complete):
    chat = Partition()
    chat.say_often(5)

    assert chat.offsets(**asked) == (offsets, complete)


@pytest.mark.parametrize(
    ("asked", "offsets", "complete"),
    [
        ({}, [3, 4, 5], False),
        ({"after": 2}, [3, 4, 5], True),
        ({"after": 1}, [3, 4, 5], False),
        ({"before": 3}, [], False),
        ({"before": 5, "after": 2}, [3, 4], True),
    ],
)
def test_a_page_is_complete_if_nothing_asked_for_was_evicted(asked, offsets, complete):
    chat = Partition(Retention(messages=3, seconds=300))
    chat.say_often(5)

    assert chat.offsets(**asked) == (offsets, complete)


def test_a_page_says_where_the_topic_is():
    chat = Partition()
    assert (chat.page().epoch, chat.page().offset, chat.page().complete) == (LOG, 0, True)

    chat.say_often(3)
    assert (chat.page(limit=1).epoch, chat.page(limit=1).offset) == (LOG, 3)


def anything(_topic: str, _serial: int) -> bool:
    """Want it all."""
    return True


def bytes_of(messages: int, size: int) -> int:
    """What so many messages take whose payloads have so many bytes together."""
    return messages * (FRAME_BYTES + len("chat")) + size


def test_a_page_holds_so_many_bytes_and_what_is_larger_comes_alone():
    chat = Partition()
    for size in (6, 4, 20, 1):
        chat.say(payload=b"x" * (size - 1), metadata=b"y")

    assert chat.offsets(after=0, max_bytes=bytes_of(2, 10)) == ([1, 2], False)
    assert chat.offsets(after=1, max_bytes=bytes_of(2, 10)) == ([2], False)
    assert chat.offsets(after=2, max_bytes=bytes_of(2, 10)) == ([3], False)
    assert chat.offsets(after=3, max_bytes=bytes_of(2, 10)) == ([4], True)
    assert chat.offsets(before=4, max_bytes=bytes_of(1, 10)) == ([3], False)


def test_a_page_counts_a_binary_message_as_the_base64_that_it_is_there():
    chat = Partition()
    for _ in range(2):
        chat.say(payload=b"x" * 6, form=Form.STREAM_DATA)

    assert chat.offsets(after=0, max_bytes=bytes_of(2, 16)) == ([1, 2], True)
    assert chat.offsets(after=0, max_bytes=bytes_of(2, 15)) == ([1], False)


# ---- retention (H4) ------------------------------------------------------------------------------


def test_a_topic_holds_so_many_messages():
    chat = Partition(Retention(messages=2, seconds=300))
    chat.say_often(3)
    chat.say("news")

    assert chat.offsets() == ([2, 3], False)
    assert chat.offsets("news") == ([1], True)


@pytest.mark.parametrize(
    "touch",
    [
        lambda chat: chat.history.sweep(chat.now_ms),
        lambda chat: chat.page(),
        lambda chat: chat.missed(since_ms=0),
        lambda chat: chat.missed("#", since_ms=0),
        lambda chat: chat.missed(position=(LOG, 0)),
    ],
)
def test_a_message_is_held_so_long(touch):
    chat = Partition(Retention(messages=100, seconds=300))
    chat.say()
    chat.now_ms += 299_999
    touch(chat)
    assert len(chat.history) == 1

    chat.now_ms += 1
    touch(chat)
    assert len(chat.history) == 0
    assert chat.history.next_place("chat").offset == 2


def test_whoever_speaks_sees_to_it_that_the_topic_holds_nothing_old():
    chat = Partition(Retention(messages=100, seconds=1))
    chat.say()
    chat.say(after_ms=1000)

    assert len(chat.history) == 1


def test_a_topic_holds_so_many_bytes():
    chat = Partition(bounds=Bounds(topic_size=10))
    chat.say_often(2, payload=b"1234", metadata=b"1")
    chat.say("news", payload=b"1234567890")
    assert len(chat.history) == 3

    chat.say()
    assert chat.offsets() == ([2, 3], False)
    chat.say(payload=b"12345678901")  # too large to be kept at all
    assert chat.offsets() == ([], False)
    assert chat.history.size == 10


@pytest.mark.parametrize("bounds", [Bounds(size=3), Bounds(messages=3)])
def test_a_partition_holds_so_much_and_loses_the_oldest_of_whatever_topic(bounds):
    chat = Partition(bounds=bounds)
    for topic in ("a", "b", "a", "a"):
        chat.say(topic)

    assert chat.offsets("a") == ([2, 3], False)
    assert chat.offsets("b") == ([1], True)
    chat.say("c")
    assert chat.offsets("b") == ([], False)


def test_the_bounds_are_those_that_were_promised():
    expected = Bounds(topic_size=1_048_576, size=33_554_432, messages=100_000, topics=100_000)

    assert Bounds() == expected


def test_a_topic_outlives_its_messages():
    chat = Partition()
    chat.say_often(2)
    chat.pass_time(300_000)

    assert len(chat.history) == chat.history.size == 0
    assert chat.say().offset == 3


def test_topics_that_were_silent_for_longest_are_forgotten_a_tenth_at_once():
    chat = Partition(bounds=Bounds(topics=20))
    for number in [*range(20), 0]:
        chat.say(f"t{number}")
    assert (chat.history.topics, chat.history.epoch) == (20, "log")

    newest = chat.say("t20")
    assert (chat.history.topics, chat.history.epoch) == (18, "log.1")
    assert newest.epoch == "log"
    assert chat.page("t0").offset == 2
    assert [chat.page(f"t{number}").offset for number in (1, 2, 3, 4)] == [0, 0, 0, 1]
    assert len(chat.history) == 19  # a forgotten topic holds nothing


def test_a_topic_that_was_forgotten_returns_with_another_epoch():
    chat = Partition(bounds=Bounds(topics=2))
    first = chat.say("a")
    for topic in ("b", "c"):
        chat.say(topic)
    again = chat.say("a")

    assert (again.epoch, again.offset) == ("log.1", 1)
    assert chat.history.epoch == "log.2"  # for "b" was forgotten now
    assert chat.missed_behind(LOG, 1, "a") is None
    assert chat.missed_behind("log.1", 0, "a") == [again.serial]
    assert chat.missed_since(first.sent_at_ms, "a") is None


# ---- recovery (H3) -------------------------------------------------------------------------------


def test_a_replay_by_time_begins_two_seconds_earlier_and_includes_that_instant():
    chat = Partition()
    for _ in range(3):
        chat.say(after_ms=1000)

    assert serials(chat.missed(since_ms=START_MS + 4000).messages) == [2, 3]
    assert serials(chat.missed(since_ms=START_MS + 4001).messages) == [3]
    assert serials(chat.missed(since_ms=0).messages) == [1, 2, 3]


def test_patterns_recover_in_the_order_in_which_all_was_said():
    chat = Partition()
    for topic in ("chat.a", "news", "chat.b", "chat.a", "chat", "system.a"):
        chat.say(topic)

    assert chat.missed_since(START_MS, "chat.*") == [1, 3, 4]
    assert chat.missed_since(START_MS, "chat.#") == [1, 3, 4, 5]
    assert chat.missed_since(START_MS, "#") == [1, 2, 3, 4, 5]
    assert chat.missed_since(START_MS + 3, "chat.#") == [3, 4, 5]
    assert chat.missed_since(START_MS, "system.*") == [6]


def test_a_position_recovers_what_came_behind_it():
    chat = Partition()
    chat.say_often(3)

    assert chat.missed_behind(LOG, 0) == [1, 2, 3]
    assert chat.missed_behind(LOG, 2) == [3]
    assert chat.missed_behind(LOG, 3) == []
    assert chat.missed_behind(LOG, 4) is None
    assert chat.missed_behind("other", 2) is None


def test_whoever_subscribed_before_anybody_spoke_recovers_from_offset_0():
    chat = Partition()
    page = chat.page()
    assert chat.missed_behind(page.epoch, page.offset) == []

    chat.say()
    assert chat.missed_behind(page.epoch, page.offset) == [1]
    assert chat.missed_behind(LOG, 1, "silent") is None


def test_what_was_evicted_is_recovered_by_nobody_who_missed_it():
    chat = Partition(lambda topic: Retention(100 if topic == "news" else 2, 300))
    chat.say("news")
    chat.say_often(3)

    assert chat.missed_behind(LOG, 0) is None
    assert chat.missed_behind(LOG, 1) == [3, 4]
    for text in ("chat", "#"):
        assert chat.missed_since(START_MS + 2, text) is None
        assert chat.missed_since(START_MS + 3, text) == [3, 4]
    assert chat.missed_since(START_MS, "news") == [1]


def test_where_some_topic_may_have_no_history_nothing_recovers():
    chat = Partition(
        lambda topic: Retention(0 if topic.startswith("live") else 9, 300),
        keeps_all=lambda words: not overlaps(words, ("live", "#")),
    )
    chat.say("chat.a")

    assert chat.missed_since(START_MS, "chat.*") == [1]
    for text in ("live.a", "live.*", "*.a", "#"):
        assert chat.missed_since(START_MS, text) is None
    assert chat.missed_behind(LOG, 0, "live.a") is None


def test_what_another_log_may_have_held_is_not_recovered():
    chat = Partition(began_ms=START_MS)
    chat.say()

    for text in ("chat", "#", "silent"):
        assert chat.missed_since(START_MS - 1, text) is None
        assert chat.missed_since(START_MS, text) is not None
    assert chat.missed_behind(LOG, 0) == [1]


def test_what_was_missed_comes_in_parts():
    chat = Partition()
    for size in (3, 4, 9, 1):
        chat.say(payload=b"x" * size)
    for asked in ({"since_ms": 0}, {"position": (LOG, 0)}):
        parts, after = [], 0
        for _ in range(3):
            part = chat.missed(**asked, after_serial=after, max_bytes=bytes_of(2, 8))
            parts.append((serials(part.messages), part.serial, part.more))
            after = part.serial

        assert parts == [([1, 2], 2, True), ([3], 3, True), ([4], 4, False)]
        assert chat.missed(**asked, after_serial=4) == Missed([], True, 4, False)


def test_the_next_part_lacks_nothing_that_the_one_before_had():
    chat = Partition(Retention(messages=4, seconds=300))
    chat.say_often(4)
    chat.say()  # 1 is evicted, and was seen

    for asked in ({"since_ms": START_MS}, {"position": (LOG, 0)}):
        assert serials(chat.missed(**asked, after_serial=1).messages) == [2, 3, 4, 5]
        assert chat.missed(**asked, after_serial=0) == Missed([], False, 5, False)


# ---- replay --------------------------------------------------------------------------------------


def test_a_node_gets_again_what_it_wants_and_hears_how_much_is_lost():
    chat = Partition(Retention(messages=2, seconds=300))
    for topic in ("a", "b", "b", "b", "a"):
        chat.say(topic)

    def replay(after: int, *topics: str) -> tuple[list[int], int]:
        again = chat.history.replay(after, lambda topic, _: topic in topics, now_ms=0)
        return serials(again.messages), again.lost

    assert replay(0, "a", "b") == ([1, 3, 4, 5], 1)
    assert replay(0, "a") == ([1, 5], 1)
    assert replay(3, "a", "b") == ([4, 5], 0)
    assert replay(5, "a", "b") == replay(9, "a") == ([], 0)


# ---- a change of owner ---------------------------------------------------------------------------


def test_a_checkpoint_says_how_far_all_has_come_and_what_retention_dropped():
    chat = Partition(Retention(messages=1, seconds=300), bounds=Bounds(topics=2))
    for topic in ("x", "a", "a", "b"):
        chat.say(topic)

    assert list(chat.history.checkpoint()) == [
        HistoryReached(4, START_MS + 4, "log.1", evicted_ms=START_MS + 1),
        TopicReached("a", LOG, 2, START_MS + 3, evicted_ms=START_MS + 2),
        TopicReached("b", LOG, 1, START_MS + 4, evicted_ms=0),
    ]


def test_a_successor_counts_on_at_once():
    chat = Partition()
    chat.say_often(2)
    chat.checkpoint()
    chat.say()
    chat.change_owner()

    assert chat.history.next_place("chat") == Place(LOG, 4, 4)
    assert chat.history.next_place("new") == Place(LOG, 1, 4)
    assert chat.history.sent_at_ms == chat.now_ms


def test_until_the_older_messages_are_read_they_count_as_missing():
    chat = Partition()
    chat.say_often(2)
    chat.checkpoint()
    chat.change_owner()
    chat.say()

    assert chat.offsets() == ([3], False)
    assert chat.offsets(after=2) == ([3], True)
    assert chat.missed_behind(LOG, 1) is None
    assert chat.missed_behind(LOG, 2) == [3]
    for text in ("chat", "#"):
        assert chat.missed_since(START_MS + 2, text) is None
        assert chat.missed_since(START_MS + 3, text) == [3]
    assert chat.history.replay(0, anything, now_ms=0).lost == 2
    assert chat.history.find("chat", "broadcast_1") is None


def test_what_is_only_not_read_yet_is_not_written_down_as_evicted():
    chat = Partition()
    chat.say_often(2)
    chat.checkpoint()
    chat.change_owner()
    chat.checkpoint()
    chat.change_owner()
    chat.fill()

    assert chat.offsets() == ([1, 2], True)
    assert chat.missed_since(START_MS) == [1, 2]


def test_once_filled_a_history_is_as_if_its_owner_had_never_changed():
    chat = Partition()
    said = chat.say_often(2)
    chat.checkpoint()
    chat.change_owner()
    said.append(chat.say())
    chat.fill()

    assert chat.page().messages == said
    assert chat.page().complete
    assert chat.missed_since(START_MS, "#") == chat.missed_behind(LOG, 0) == [1, 2, 3]
    assert chat.history.replay(0, anything, now_ms=0).messages == said
    assert chat.history.replay(0, anything, now_ms=0).lost == 0
    assert chat.history.find("chat", "broadcast_1") == said[0]
    assert len(chat.history) == chat.history.size == 3


def test_filling_holds_no_more_than_retention_allows():
    chat = Partition(Retention(messages=3, seconds=300))
    chat.say_often(3)
    chat.checkpoint()
    chat.change_owner()
    chat.say_often(2)
    chat.fill()

    assert len(chat.history) == 3
    assert chat.offsets() == ([3, 4, 5], False)
    assert chat.missed_since(START_MS + 2) is None
    assert chat.missed_since(START_MS + 3) == [3, 4, 5]


def test_what_was_evicted_meanwhile_does_not_come_back_from_the_older_history():
    chat = Partition(lambda topic: Retention(100, 1 if topic == "brief" else 300))
    chat.say()
    chat.say("brief")
    chat.change_owner()
    chat.pass_time(1000)
    for one in chat.log:  # it was read beyond the checkpoint
        chat.older.append(one, one.sent_at_ms)
    chat.fill()

    assert serials(chat.history.replay(0, anything, now_ms=0).messages) == [1]


def test_nothing_is_put_under_a_hole():
    chat = Partition(bounds=Bounds(topic_size=8))
    chat.say()
    chat.checkpoint()
    chat.change_owner()
    chat.say(payload=b"12345")
    chat.say(payload=b"12345")  # the one before is evicted
    chat.fill()

    assert chat.offsets() == ([3], False)
    assert chat.missed_behind(LOG, 0) is None


def test_offsets_of_another_epoch_are_not_put_under_those_of_this_one():
    successor, older = (History(lambda _: LONG) for _ in range(2))
    successor.restore(HistoryReached(4, START_MS, "log.1", evicted_ms=0))
    successor.restore(TopicReached("chat", "log.1", 1, START_MS, evicted_ms=0))
    older.append(published(1, "chat", 1), START_MS)
    successor.fill(older)

    assert len(successor) == 0


def test_a_message_that_was_published_again_meanwhile_is_found_in_its_later_place():
    chat = Partition()
    chat.say(message_id="twice")
    chat.checkpoint()
    chat.change_owner()
    again = chat.say(message_id="twice")
    chat.fill()

    assert chat.history.find("chat", "twice") == again


@pytest.mark.parametrize(("before", "after"), [(2, 100), (100, 2)])
def test_what_either_owner_has_evicted_is_not_recovered(before, after):
    """The retention was changed between them; so what is held may be more than is complete."""
    chat = Partition(lambda _: Retention(chat.kept, 300))
    chat.kept = before
    chat.say_often(3)
    chat.checkpoint()
    chat.kept = after
    chat.change_owner()
    chat.fill()

    for text in ("chat", "#"):
        assert chat.missed_since(START_MS + 1, text) is None
        assert chat.missed_since(START_MS + 2, text) == [2, 3]


def test_a_successor_knows_that_topics_were_forgotten():
    chat = Partition(bounds=Bounds(topics=1))
    chat.say("a")
    chat.say("b")
    chat.checkpoint()
    chat.change_owner()

    for text in ("a", "#"):
        assert chat.missed_since(START_MS + 1, text) is None
    assert chat.missed_since(START_MS + 2, "a") == []
    assert chat.history.next_place("a").epoch == "log.1"


def test_whoever_had_all_that_is_not_read_yet_goes_on_with_the_successor():
    chat = Partition()
    chat.say_often(2)
    chat.checkpoint()
    chat.change_owner()
    chat.say()

    for asked in ({"since_ms": START_MS}, {"position": (LOG, 0)}):
        assert serials(chat.missed(**asked, after_serial=2).messages) == [3]
        assert not chat.missed(**asked, after_serial=1).recovered


def test_what_the_log_has_lost_is_not_recovered():
    chat = Partition()
    first, second, _ = chat.say_often(3)
    chat.checkpoint()
    chat.change_owner(read_from=1)
    chat.fill()

    assert chat.offsets() == ([2, 3], False)
    assert chat.missed_behind(LOG, 0) is None
    assert chat.missed_behind(LOG, 1) == [2, 3]
    for text in ("chat", "#"):
        assert chat.missed_since(first.sent_at_ms, text) is None
        assert chat.missed_since(second.sent_at_ms, text) == [2, 3]


def test_an_owner_hears_of_what_was_forgotten_since_the_checkpoint():
    """Nobody wrote it down, but the first message of a topic tells the epoch of its time."""
    chat = Partition()
    chat.history.append(published(1, "a", 1, epoch="log.3"), chat.now_ms)
    chat.history.append(published(2, "b", 1, epoch="log.2"), chat.now_ms)

    assert chat.history.next_place("c").epoch == "log.3"


# ---- whatever happens ----------------------------------------------------------------------------

TOPICS = ("chat.a", "chat.b", "news", "news.a", "system.a")
PATTERNS = (*TOPICS, "chat.*", "*.a", "news.#", "#", "system.#")
KEPT = {"chat": Retention(3, 10), "news": Retention(20, 2), "system": Retention(20, 60)}


def by_first_word(topic: str) -> Retention:
    return KEPT[topic.partition(".")[0]]


BOUNDS = st.builds(
    Bounds,
    topic_size=st.sampled_from([8, 10_000]),
    size=st.sampled_from([16, 10_000]),
    messages=st.sampled_from([6, 10_000]),
    topics=st.sampled_from([3, 4, 10_000]),
)
ROOMY = st.builds(
    Bounds, topic_size=st.sampled_from([8, 10_000]), topics=st.sampled_from([3, 4, 10_000])
)


@dataclass(frozen=True)
class Say:
    topic: str
    size: int


@dataclass(frozen=True)
class Wait:
    ms: int


@dataclass(frozen=True)
class ChangeOwner:
    read_from: int


CHECKPOINT, FILL = "checkpoint", "fill"
SAY = st.builds(Say, st.sampled_from(TOPICS), st.integers(1, 5))
WAIT = st.builds(Wait, st.sampled_from([1, 700, 1900, 6000]))
READ_FROM = st.one_of(st.just(0), st.integers(0, 20))
TAKEOVER = st.one_of(st.builds(ChangeOwner, READ_FROM), st.just(CHECKPOINT), st.just(FILL))
TALK = st.lists(st.one_of(SAY, SAY, SAY, WAIT), min_size=6, max_size=30)
LIFE = st.lists(st.one_of(SAY, SAY, SAY, WAIT, TAKEOVER), min_size=8, max_size=40)


def live_through(chat: Partition, steps: list) -> Iterator[None]:
    """Do this, step by step; the owner's tick goes with every step, and ``fill`` with the last."""
    for step in steps:
        match step:
            case Say():
                chat.say(step.topic, payload=b"x" * step.size, after_ms=0)
            case Wait():
                chat.now_ms += step.ms
            case ChangeOwner():
                chat.change_owner(min(step.read_from, chat._behind))
            case "checkpoint":
                chat.checkpoint()
            case "fill":
                chat.fill()
        chat.history.sweep(chat.now_ms)
        yield


def every_answer(chat: Partition) -> dict:
    """Ask everything that one could want to know."""
    stamps = sorted({one.sent_at_ms + more for one in chat.log for more in (0, 1)})
    marks = sorted({one.serial for one in chat.log} | {0})
    answers = {}
    for text, stamp in product(PATTERNS, stamps):
        answers["since", text, stamp] = chat.missed_since(stamp, text)
    for topic in TOPICS:
        for one in [one for one in chat.log if one.topic == topic]:
            position = (one.epoch, one.offset)
            answers["behind", topic, position] = chat.missed_behind(*position, topic)
        answers["behind", topic] = chat.missed_behind(chat.history.epoch, 0, topic)
        for after, before, reverse in product((None, 0, 1, 4), (None, 1, 3, 6), (False, True)):
            asked = {"after": after, "before": before, "reverse": reverse}
            page = chat.page(topic, limit=3, **asked)
            answers["page", topic, *asked.values()] = (serials(page.messages), page.complete)
    for mark in marks:
        again = chat.history.replay(mark, lambda topic, _: topic in TOPICS[:3], now_ms=0)
        answers["replay", mark] = (serials(again.messages), again.lost)
    return answers


class Naive:
    """All that was ever said, and which of it is gone, found out anew each time."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._log: list[Published] = []
        self._gone: set[int] = set()
        self._known: list[str] = []
        self._first: dict[str, int] = {}
        self._forgettings = 0
        self._lost_ms = 0

    def held(self, topic: str | None = None) -> list[Published]:
        everything = (one for one in self._log if one.serial not in self._gone)
        return [one for one in everything if topic in {None, one.topic}]

    def said(self, one: Published) -> None:
        self._log.append(one)
        if one.topic not in self._known:
            self._first[one.topic] = one.serial
        self._known = [topic for topic in self._known if topic != one.topic] + [one.topic]
        while sum(len(each.payload) for each in self.held(one.topic)) > self._bounds.topic_size:
            self._drop_oldest(one.topic)
        while len(self.held(one.topic)) > by_first_word(one.topic).messages:
            self._drop_oldest(one.topic)
        while len(self.held()) > self._bounds.messages or self._size() > self._bounds.size:
            self._drop_oldest(None)
        if len(self._known) > self._bounds.topics:
            self._forget()

    def _size(self) -> int:
        return sum(len(one.payload) for one in self.held())

    def _drop_oldest(self, topic: str | None) -> None:
        self._gone.add(self.held(topic)[0].serial)

    def _forget(self) -> None:
        self._forgettings += 1
        while len(self._known) > self._bounds.topics - self._bounds.topics // 10:
            topic = self._known.pop(0)
            mine = [one for one in self._log if one.topic == topic]
            self._gone |= {one.serial for one in mine}
            self._lost_ms = max(self._lost_ms, mine[-1].sent_at_ms)

    def time_is(self, now_ms: int) -> None:
        for one in self.held():
            if now_ms - one.sent_at_ms >= by_first_word(one.topic).seconds * 1000:
                self._gone.add(one.serial)

    def _present(self, topic: str) -> list[Published]:
        """All that was said on a topic since it was last forgotten, gone or not."""
        if topic not in self._known:
            return []
        first = self._first[topic]
        return [one for one in self._log if one.topic == topic and one.serial >= first]

    def _or_none(self, wanted: list[Published]) -> list[int] | None:
        return None if self._gone & set(serials(wanted)) else serials(wanted)

    def missed_since(self, stamp: int, text: str) -> list[int] | None:
        if self._lost_ms >= stamp:
            return None
        words = parse_pattern(text)
        newer = [one for one in self._log if one.sent_at_ms >= stamp]
        return self._or_none([one for one in newer if contains(words, parse_pattern(one.topic))])

    def missed_behind(self, epoch: str, offset: int, topic: str) -> list[int] | None:
        present = self._present(topic)
        now = present[0].epoch if present else self.epoch
        if epoch != now or offset > len(present):
            return None
        return self._or_none(present[offset:])

    @property
    def epoch(self) -> str:
        return f"{LOG}.{self._forgettings}" if self._forgettings else LOG

    def page(self, topic: str, after, before, reverse) -> tuple[list[int], bool]:
        """Answer with the serials of at most three."""
        present = self._present(topic)
        asked = present[after or 0 :] if before is None else present[after or 0 : before - 1]
        there = [one for one in asked if one.serial not in self._gone]
        given = there[:3] if after is not None and not reverse else there[-3:]
        complete = given == asked and (after or 0) <= len(present)
        return serials(given[::-1] if reverse else given), complete

    def replay(self, mark: int) -> tuple[list[int], int]:
        newer = [one for one in self._log if one.serial > mark]
        there = [one for one in newer if one.serial not in self._gone]
        wanted = [one for one in there if one.topic in TOPICS[:3]]
        return serials(wanted), len(newer) - len(there)

    def answer(self, question: tuple):
        match question:
            case ("since", text, stamp):
                return self.missed_since(stamp, text)
            case ("behind", topic, (epoch, offset)):
                return self.missed_behind(epoch, offset, topic)
            case ("behind", topic):
                return self.missed_behind(self.epoch, 0, topic)
            case ("page", topic, after, before, reverse):
                return self.page(topic, after, before, reverse)
            case ("replay", mark):
                return self.replay(mark)


@settings(max_examples=80, deadline=None)
@given(TALK, BOUNDS)
def test_a_history_answers_as_one_that_looks_at_all_that_was_ever_said(steps, bounds):
    chat, naive = Partition(by_first_word, bounds=bounds), Naive(bounds)
    for _ in live_through(chat, steps):
        for one in chat.log[len(naive._log) :]:
            naive.said(one)
        naive.time_is(chat.now_ms)

    for question, answer in every_answer(chat).items():
        assert answer == naive.answer(question), question


@settings(max_examples=80, deadline=None)
@given(LIFE, ROOMY)
def test_a_change_of_owner_changes_no_answer(steps, bounds):
    steps = [ChangeOwner(0) if isinstance(step, ChangeOwner) else step for step in steps]
    here, there = (Partition(by_first_word, bounds=bounds) for _ in range(2))
    undisturbed = [step for step in steps if isinstance(step, Say | Wait)]
    for chat, life in ((here, undisturbed), (there, [*steps, FILL])):
        for _ in live_through(chat, life):
            pass

    assert here.log == there.log
    assert every_answer(here) == every_answer(there)
    assert list(here.history.checkpoint()) == list(there.history.checkpoint())
    assert (len(here.history), here.history.size) == (len(there.history), there.history.size)


@settings(max_examples=80, deadline=None)
@given(LIFE, BOUNDS)
def test_no_client_is_told_that_it_has_recovered_while_something_is_missing(steps, bounds):
    """Whatever is evicted, forgotten, truncated or not read yet, under whatever owners."""
    chat = Partition(by_first_word, bounds=bounds)
    seen = {}  # where a client may have been: how much of the log it had seen by then
    for _ in live_through(chat, steps):
        for topic in TOPICS:
            page = chat.page(topic)
            seen.setdefault((topic, page.epoch, page.offset), len(chat.log))
        for (topic, epoch, offset), length in seen.items():
            answer = chat.missed_behind(epoch, offset, topic)
            later = [one.serial for one in chat.log[length:] if one.topic == topic]
            assert answer in (None, later), (topic, epoch, offset)
        for text, stamp in product(PATTERNS, {one.sent_at_ms for one in chat.log}):
            answer = chat.missed_since(stamp, text)
            assert answer in (None, everything_since(chat, stamp, text)), (text, stamp)


def everything_since(chat: Partition, stamp: int, text: str) -> list[int]:
    words = parse_pattern(text)
    newer = [one for one in chat.log if one.sent_at_ms >= stamp]
    return [one.serial for one in newer if contains(words, parse_pattern(one.topic))]


@settings(max_examples=80, deadline=None)
@given(LIFE, LIFE, BOUNDS, st.sampled_from(PATTERNS), st.integers(0, 20))
def test_whoever_recovers_in_parts_gets_all_or_is_told_even_if_the_owner_changes_between(
    steps, then, bounds, text, back
):
    chat = Partition(by_first_word, bounds=bounds)
    for _ in live_through(chat, steps):
        pass
    stamp = chat.log[-back:][0].sent_at_ms if chat.log else START_MS
    got, after = [], 0
    for _ in live_through(chat, [*then, FILL, *[Wait(0)] * 100]):
        part = chat.missed(text, since_ms=stamp + 2000, after_serial=after, max_bytes=6)
        if not part.recovered:
            return
        got += serials(part.messages)
        after = part.serial
        if not part.more:
            assert got == everything_since(chat, stamp, text)
            return
    pytest.fail("it never ended")


# ---- a message's own time (X3) -------------------------------------------------------------------


def test_what_has_outlived_its_ttl_is_left_out_and_nobody_lacks_it():
    chat = Partition()
    first = chat.say()
    passing = chat.say(ttl=5)
    last = chat.say()
    assert chat.offsets() == ([1, 2, 3], True)
    assert chat.missed_behind(LOG, 0) == [1, 2, 3]

    chat.now_ms = passing.sent_at_ms + 4999
    assert chat.offsets() == ([1, 2, 3], True)
    chat.now_ms = passing.sent_at_ms + 5000
    assert chat.offsets() == ([1, 3], True)
    assert chat.offsets(after=1) == ([3], True)
    assert chat.offsets(limit=1) == ([3], False)
    assert chat.missed_behind(LOG, 0) == [1, 3]
    assert chat.missed_since(first.sent_at_ms) == [1, 3]
    again = chat.history.replay(0, lambda topic, serial: True, now_ms=chat.now_ms)
    assert (again.messages, again.lost) == ([first, last], 0)


def test_the_place_of_what_was_erased_is_given_to_nobody_whatever_the_clock_says():
    chat = Partition()
    said = chat.say()
    chat.history.erase("alice", said.serial)
    chat.now_ms = said.sent_at_ms - 1000

    assert chat.offsets() == ([], True)

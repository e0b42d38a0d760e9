"""What waits for those who are not here (R3): presence_service/core/mailbox.py."""

from itertools import count

import pytest
from msgspec.structs import replace

from presence_service.core import mailbox
from presence_service.core.mailbox import Limits, Mailboxes
from shared.messages.deliveries import DirectDelivery
from tests.unit.builders import direct_delivery

DAY_MS = 86_400_000


class Post:
    """Mailboxes, and letters for bob under rising ids."""

    def __init__(self, **limits: int) -> None:
        self.boxes = Mailboxes(Limits(**limits))
        self._ids = count(1)

    def letter(self, **fields) -> DirectDelivery:
        message_id = f"dm_{next(self._ids):04}"
        return direct_delivery(**{"message_id": message_id, "sent_at_ms": 0, **fields})

    def store(self, *, now_ms: int = 0, **fields) -> bool:
        """Put a new letter in if there is room for it."""
        letter = self.letter(**fields)
        if has_room := self.boxes.has_room(letter, now_ms=now_ms):
            self.boxes.put(letter)
        return has_room

    def drain(self, *, now_ms: int = 0, user_id: str = "bob") -> list[str]:
        """Have all that is due handed over."""
        found = [one.message_id for one in self.boxes.drain(user_id, now_ms=now_ms)]
        self.boxes.remove(user_id, found)
        return found


def test_what_waits_is_taken_out_once_and_in_order():
    post = Post()
    for _ in range(3):
        assert post.store()
    post.store(target_user="eve")

    assert post.drain() == ["dm_0001", "dm_0002", "dm_0003"]
    assert post.drain() == []
    assert len(post.boxes) == 1


def test_a_message_is_kept_once():
    post = Post(messages=1)
    letter = post.letter()

    for _ in range(2):
        assert post.boxes.has_room(letter, now_ms=0)
        post.boxes.put(letter)
    assert post.drain() == ["dm_0001"]


def test_the_limits_are_those_that_were_promised():
    assert Limits() == Limits(messages=1000, size=1_048_576, seconds=86_400, per_sender=200)


def test_a_mailbox_holds_so_many_messages_and_is_full_for_its_user_alone():
    post = Post(messages=2)

    assert [post.store() for _ in range(3)] == [True, True, False]
    assert post.store(target_user="eve")


def test_a_mailbox_holds_so_many_bytes_of_payload_and_headers():
    post = Post(size=10)

    assert post.store(payload=b"12345", metadata=b"123")
    assert not post.store(payload=b"123")
    assert post.store(payload=b"12")
    assert not post.store(payload=b"1")


def test_one_sender_may_leave_so_many_messages_and_keeps_nobody_else_out():
    post = Post(per_sender=2)

    assert [post.store(from_user="mallory") for _ in range(3)] == [True, True, False]
    assert post.store(from_user="carol")


def test_what_was_taken_out_makes_room_again():
    post = Post(messages=1, size=4, per_sender=1)
    for _ in range(2):
        assert post.store(payload=b"1234")
        post.drain()

    assert post.store(payload=b"1234")


@pytest.mark.parametrize(
    ("ttl", "expires_ms"), [(None, DAY_MS), (10, 10_000), (0.5, 500), (1e9, DAY_MS)]
)
def test_a_message_waits_a_day_or_as_long_as_its_sender_said(ttl, expires_ms):
    for now_ms, expected in ((expires_ms - 1, ["dm_0001"]), (expires_ms, [])):
        post = Post()
        post.store(ttl=ttl)
        assert post.drain(now_ms=now_ms) == expected


@pytest.mark.parametrize(("ttl", "now_ms"), [(0, 0), (10, 10_000)])
def test_what_is_live_only_or_too_old_is_not_kept(ttl, now_ms):
    post = Post()

    assert not post.store(ttl=ttl, now_ms=now_ms)
    assert len(post.boxes) == 0


def test_what_has_expired_makes_room():
    post = Post(messages=1, per_sender=1, size=4)
    post.store(ttl=1, payload=b"1234")

    assert post.store(now_ms=1000, sent_at_ms=1000, payload=b"1234")
    assert post.drain(now_ms=1000) == ["dm_0002"]


def test_sweeping_drops_what_has_expired_everywhere():
    post = Post()
    post.store(ttl=1)
    post.store(ttl=1, target_user="eve")
    post.store(target_user="eve")

    post.boxes.sweep(now_ms=1000)

    assert len(post.boxes) == 1
    assert post.drain(user_id="eve") == ["dm_0003"]


def test_what_was_accepted_before_is_kept_over_the_limits_and_in_its_old_place():
    post = Post(messages=2)
    first = post.letter()
    post.store()
    post.store()

    post.boxes.put(first)
    post.boxes.put(first)

    assert not post.store()
    assert post.drain() == ["dm_0001", "dm_0002", "dm_0003"]


def test_whatever_the_order_of_their_coming_messages_leave_in_the_order_of_their_ids():
    post = Post()
    letters = [post.letter() for _ in range(4)]
    for at in (2, 0, 3, 1):
        post.boxes.put(letters[at])

    assert post.drain() == ["dm_0001", "dm_0002", "dm_0003", "dm_0004"]


# ---- on its way ----------------------------------------------------------------------------------


def test_what_is_on_its_way_waits_here_still_but_is_not_given_to_another():
    post = Post(messages=2)
    post.store()
    on_its_way = post.boxes.drain("bob", now_ms=0)
    post.store()

    assert [one.message_id for one in on_its_way] == ["dm_0001"]
    assert [one.message_id for one in post.boxes] == ["dm_0001", "dm_0002"]
    assert not post.store()
    assert post.drain() == ["dm_0002"]


def test_what_could_not_be_handed_over_is_due_again_in_the_order_it_had():
    post = Post()
    for _ in range(4):
        post.store()
    post.boxes.drain("bob", now_ms=0)
    post.store()

    for message_id in ("dm_0003", "dm_0001"):
        post.boxes.stayed("bob", message_id)
    post.boxes.remove("bob", ["dm_0002", "dm_0004"])

    assert post.drain() == ["dm_0001", "dm_0003", "dm_0005"]


def test_what_is_put_back_while_it_is_on_its_way_is_due_again():
    post = Post()
    post.store()
    (letter,) = post.boxes.drain("bob", now_ms=0)

    post.boxes.put(letter)

    assert post.drain() == ["dm_0001"]


def test_what_expires_on_its_way_may_come_again():
    post = Post()
    post.store(ttl=1)
    (letter,) = post.boxes.drain("bob", now_ms=0)
    post.boxes.sweep(now_ms=1000)
    assert len(post.boxes) == 0

    post.boxes.put(replace(letter, ttl=None))

    assert post.drain(now_ms=1000) == ["dm_0001"]


def test_removing_what_is_not_here_changes_nothing():
    post = Post(size=4)
    post.store(payload=b"1234")

    post.boxes.remove("bob", ["dm_0099"])
    post.boxes.remove("nobody", ["dm_0001"])

    assert not post.store(payload=b"1")
    assert post.drain() == ["dm_0001"]


def test_all_mailboxes_of_a_partition_together_are_bounded(monkeypatch):
    monkeypatch.setattr(mailbox, "PARTITION_BYTES", 2 * (mailbox.ENTRY_BYTES + 4))
    post = Post()
    assert post.store(payload=b"1234")
    assert post.store(payload=b"1234", target_user="eve", from_user="carol")
    assert not post.store(payload=b"1", target_user="zoe", from_user="dan")

    post.drain(user_id="eve")

    assert post.store(payload=b"1234", target_user="zoe", from_user="dan")


def test_one_sender_cannot_fill_a_partition_for_the_others(monkeypatch):
    monkeypatch.setattr(mailbox, "SENDER_BYTES", 2 * (mailbox.ENTRY_BYTES + 4))
    post = Post()
    assert post.store(payload=b"1234")
    assert post.store(payload=b"1234", target_user="eve")
    assert not post.store(payload=b"1", target_user="zoe")
    assert post.store(payload=b"1234", target_user="zoe", from_user="carol")

    post.drain(user_id="eve")

    assert post.store(payload=b"1234", target_user="zoe")


def test_nothing_is_remembered_of_a_user_for_whom_nothing_waits_any_more():
    post = Post()
    post.store()
    post.drain()

    assert (post.boxes._boxes, post.boxes._leaving) == ({}, {})
    assert (post.boxes._weight, post.boxes._weights) == (0, {})


def test_nothing_is_remembered_of_a_user_for_whom_nothing_ever_waited():
    post = Post()
    post.boxes.drain("eve", now_ms=0)

    assert (post.boxes._boxes, post.boxes._leaving) == ({}, {})

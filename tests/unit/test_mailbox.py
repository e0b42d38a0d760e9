"""What waits for those who are not here (R3): presence_service/core/mailbox.py."""

from itertools import count

import pytest

from presence_service.core.mailbox import Limits, Mailboxes
from shared.messages.envelopes import DirectDelivery
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
        return self.boxes.store(self.letter(**fields), now_ms=now_ms)

    def drain(self, *, now_ms: int = 0, user_id: str = "bob") -> list[str]:
        return [one.message_id for one in self.boxes.drain(user_id, now_ms=now_ms)]


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

    assert post.boxes.store(letter, now_ms=0)
    assert post.boxes.store(letter, now_ms=0)
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

    post.boxes.keep(first)
    post.boxes.keep(first)

    assert not post.store()
    assert post.drain() == ["dm_0001", "dm_0002", "dm_0003"]


def test_what_could_not_be_handed_over_goes_back_in_the_order_it_had():
    post = Post()
    for _ in range(4):
        post.store()
    letters = post.boxes.drain("bob", now_ms=0)
    post.store()

    for at in (2, 0, 3, 1):
        post.boxes.keep(letters[at])

    assert post.drain() == ["dm_0001", "dm_0002", "dm_0003", "dm_0004", "dm_0005"]

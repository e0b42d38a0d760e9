from shared.broker.ports import Address
from shared.messages.envelopes import RouteBroadcast
from shared.messages.records import KeyUsed
from shared.ownership import idempotency
from shared.ownership.effects import Effects
from shared.ownership.idempotency import KEPT_MS, IdempotencyKeys


def used(key: str, message_id: str = "m", at_ms: int = 0, user_id: str = "alice") -> KeyUsed:
    return KeyUsed(user_id, key, message_id, "p1", 1, at_ms)


def test_what_was_done_under_a_key_is_known_for_five_minutes():
    keys = IdempotencyKeys()
    keys.keep(used("k", at_ms=1000))

    assert keys.find("alice", "k", 1000) == used("k", at_ms=1000)
    assert keys.find("alice", "k", 1000 + 300_000) == used("k", at_ms=1000)
    assert keys.find("alice", "k", 1000 + 300_001) is None


def test_a_key_is_its_users_own():
    keys = IdempotencyKeys()
    keys.keep(used("k"))

    assert keys.find("bob", "k", 0) is None
    assert keys.find("alice", "K", 0) is None


def test_a_key_that_is_kept_again_shields_no_older_one():
    keys = IdempotencyKeys()
    keys.keep(used("again", "first"))
    keys.keep(used("old", at_ms=1))
    keys.keep(used("again", "second", at_ms=KEPT_MS))

    assert keys.find("alice", "old", KEPT_MS + 2) is None
    assert keys.find("alice", "again", KEPT_MS + 2) == used("again", "second", at_ms=KEPT_MS)


def test_beyond_the_bound_the_oldest_is_forgotten(monkeypatch):
    monkeypatch.setattr(idempotency, "MAX_KEPT", 2)
    keys = IdempotencyKeys()
    for n in range(3):
        keys.keep(used(str(n)))

    assert [keys.find("alice", str(n), 0) for n in range(3)] == [None, used("1"), used("2")]


def test_kept_again_in_the_order_in_which_they_are_told_keys_are_found_and_forgotten_alike():
    keys, rebuilt = IdempotencyKeys(), IdempotencyKeys()
    for one in (used("a", at_ms=0), used("b", at_ms=10), used("a", "again", at_ms=20)):
        keys.keep(one)
    for one in keys:
        rebuilt.keep(one)

    assert list(rebuilt) == list(keys) == [used("b", at_ms=10), used("a", "again", at_ms=20)]
    assert rebuilt.find("alice", "b", KEPT_MS + 11) is None
    assert rebuilt.find("alice", "a", KEPT_MS + 11) == used("a", "again", at_ms=20)


def test_effects_count_as_some_once_there_is_anything_to_publish():
    assert not Effects()
    delivers, answers, announces, logs = Effects(), Effects(), Effects(), Effects()
    delivers.deliveries[Address(queue="q")].append(b"")
    answers.answers["q"].append(b"")
    announces.announcements.append(RouteBroadcast("", "a", b""))
    logs.records.append(b"")

    assert delivers
    assert answers
    assert announces
    assert logs

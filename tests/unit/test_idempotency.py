from shared.broker.ports import Address
from shared.messages.envelopes import RouteBroadcast
from shared.ownership import idempotency
from shared.ownership.effects import Effects
from shared.ownership.idempotency import KEPT_MS, IdempotencyKeys


def test_what_was_done_under_a_key_is_known_for_five_minutes():
    keys: IdempotencyKeys[str] = IdempotencyKeys()
    keys.keep("alice", "k", "done", 1000)

    assert keys.find("alice", "k", 1000) == "done"
    assert keys.find("alice", "k", 1000 + 300_000) == "done"
    assert keys.find("alice", "k", 1000 + 300_001) is None


def test_a_key_is_its_users_own():
    keys: IdempotencyKeys[str] = IdempotencyKeys()
    keys.keep("alice", "k", "done", 0)

    assert keys.find("bob", "k", 0) is None
    assert keys.find("alice", "K", 0) is None


def test_a_key_that_is_kept_again_shields_no_older_one():
    keys: IdempotencyKeys[str] = IdempotencyKeys()
    keys.keep("alice", "again", "first", 0)
    keys.keep("alice", "old", "old", 1)
    keys.keep("alice", "again", "second", KEPT_MS)

    assert keys.find("alice", "old", KEPT_MS + 2) is None
    assert keys.find("alice", "again", KEPT_MS + 2) == "second"


def test_beyond_the_bound_the_oldest_is_forgotten(monkeypatch):
    monkeypatch.setattr(idempotency, "MAX_KEPT", 2)
    keys: IdempotencyKeys[int] = IdempotencyKeys()
    for n in range(3):
        keys.keep("alice", str(n), n, 0)

    assert [keys.find("alice", str(n), 0) for n in range(3)] == [None, 1, 2]


def test_effects_count_as_some_once_there_is_anything_to_publish():
    assert not Effects()
    delivers, answers, announces = Effects(), Effects(), Effects()
    delivers.deliveries[Address(queue="q")].append(b"")
    answers.answers["q"].append(b"")
    announces.announcements.append(RouteBroadcast("", "a", b""))

    assert delivers
    assert answers
    assert announces

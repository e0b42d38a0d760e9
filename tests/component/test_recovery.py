"""What a subscriber has missed follows its Status, then what is said now (H3, H4)."""

from typing import Any

import pytest

from tests.component.conftest import Start
from tests.component.staging import metadata, payloads, place_of, recover, topic_of
from tests.support.embedded import Message, Place, Talk

EVERYTHING = {"since": 0}


async def say_often(talk: Talk, topic: str, *said: Any, **rest: Any) -> list[Message]:
    return [await talk.broadcast(topic, one, **rest) for one in said]


# ---- by time and by place ------------------------------------------------------------------------


async def test_what_was_missed_since_a_moment_follows_the_status(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await say_often(alice, "chat.a", 1, 2, 3)
    data = {"topics": ["chat.a"], "recover": {"chat.a": EVERYTHING}}
    await bob.say("Subscribe", data, id="s1")
    status, ack, *missed = await bob.hears(5)

    assert status == {
        "type": "Status",
        "data": {
            "status": "subscribed",
            "details": {
                "topics": ["chat.a"],
                "active_subscriptions": 1,
                "recovered": {"chat.a": True},
            },
        },
        "id": "s1",
    }
    assert ack["data"] == {"message_id": "s1", "status": "subscribed"}
    assert payloads(missed) == [1, 2, 3]
    assert all(metadata(one)["replayed"] for one in missed)
    assert [metadata(one)["offset"] for one in missed] == [1, 2, 3]
    await alice.broadcast("chat.a", 4)
    assert "replayed" not in metadata(await bob.hear())


async def test_what_came_behind_a_place_is_replayed_and_nothing_before_it(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await say_often(alice, "chat.a", 1, 2, 3)
    epoch, _ = await place_of(alice, "chat.a")

    details = await recover(bob, {"chat.a": {"offset": 1, "epoch": epoch}})
    assert details["recovered"] == {"chat.a": True}
    assert payloads(await bob.told()) == [2, 3]


async def test_who_has_seen_everything_is_replayed_nothing_and_is_told_so(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await say_often(alice, "chat.a", 1, 2)
    epoch, offset = await place_of(alice, "chat.a")

    details = await recover(bob, {"chat.a": {"offset": offset, "epoch": epoch}})
    assert details["recovered"] == {"chat.a": True}
    assert not await bob.told()


async def test_patterns_recover_from_all_partitions(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    topics = [topic_of(partition) for partition in range(place.server.settings.partitions)]
    for topic in (*topics, "other.1"):
        await say_often(alice, topic, f"{topic} 1", f"{topic} 2")

    details = await recover(bob, {"topic.*": EVERYTHING}, "other.1")
    assert details["recovered"] == {"topic.*": True}
    heard = payloads(await bob.told())
    assert sorted(heard) == sorted(f"{topic} {n}" for topic in topics for n in (1, 2))
    for topic in topics:
        assert [one for one in heard if one.startswith(topic)] == [f"{topic} 1", f"{topic} 2"]


async def test_overlapping_patterns_in_one_request_give_one_copy(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await say_often(alice, "chat.a", 1, 2)

    starts = {"chat.a": EVERYTHING, "chat.*": EVERYTHING, "chat.#": EVERYTHING}
    details = await recover(bob, starts)
    assert details["recovered"] == dict.fromkeys(starts, True)
    assert payloads(await bob.told()) == [1, 2]


async def test_a_senders_own_broadcasts_without_echo_are_not_replayed_on_its_connection(
    place: Place,
) -> None:
    alice, bob = await place.people("alice", "bob")
    await alice.broadcast("chat.a", "mine", metadata={"echo": False})
    await bob.broadcast("chat.a", "his")

    await recover(alice, {"chat.a": EVERYTHING})
    assert payloads(await alice.told()) == ["his"]


async def test_what_was_replayed_on_this_connection_is_not_replayed_again(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await say_often(alice, "chat.a", 1, 2)
    await recover(bob, {"chat.a": EVERYTHING})
    assert payloads(await bob.told()) == [1, 2]

    await recover(bob, {"chat.*": EVERYTHING})
    assert not await bob.told()


async def test_what_came_live_on_this_connection_is_not_replayed_there(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await say_often(alice, "chat.a", 1, 2)
    await bob.subscribe("chat.*")
    await say_often(alice, "chat.a", 3, 4)
    assert payloads(await bob.hears(2)) == [3, 4]

    details = await recover(bob, {"chat.a": EVERYTHING})
    assert details["recovered"] == {"chat.a": True}
    assert payloads(await bob.told()) == [1, 2]
    carol = await place.connect("carol")
    await recover(carol, {"chat.a": EVERYTHING})
    assert payloads(await carol.told()) == [1, 2, 3, 4]


async def test_a_later_recovery_from_further_back_brings_what_the_first_left_out(
    place: Place,
) -> None:
    alice, bob = await place.people("alice", "bob")
    await say_often(alice, "chat.a", 1, 2, 3, 4)
    epoch, _ = await place_of(alice, "chat.a")
    await recover(bob, {"chat.a": {"offset": 2, "epoch": epoch}})
    assert payloads(await bob.told()) == [3, 4]

    details = await recover(bob, {"chat.a": {"offset": 0, "epoch": epoch}})
    assert details["recovered"] == {"chat.a": True}
    assert {1, 2} <= set(payloads(await bob.told()))


async def test_the_last_word_on_where_a_client_is_counts(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await say_often(alice, "chat.a", 1, 2)
    epoch, _ = await place_of(alice, "chat.a")
    await recover(bob, {"chat.a": {"offset": 2, "epoch": epoch}})
    assert not await bob.told()

    await recover(bob, {"chat.a": {"offset": 0, "epoch": epoch}})
    assert payloads(await bob.told()) == [1, 2]


# ---- what cannot be recovered --------------------------------------------------------------------


async def test_a_topic_is_recovered_whole_or_not_at_all(start: Start) -> None:
    place = await start(
        history={"off.#": {"messages": 0, "seconds": 0}, "#": {"messages": 3, "seconds": 300}}
    )
    alice, bob = await place.people("alice", "bob")
    for topic in ("evicted", "kept", "off.a"):
        await say_often(alice, topic, 1, 2, 3, 4)
    epoch, _ = await place_of(alice, "evicted")
    starts: dict[str, Any] = {
        "evicted": {"offset": 0, "epoch": epoch},
        "kept": {"offset": 1, "epoch": (await place_of(alice, "kept"))[0]},
        "off.a": EVERYTHING,
        "never.said": EVERYTHING,
    }
    details = await recover(bob, starts)
    assert details["recovered"] == {
        "evicted": False,
        "kept": True,
        "off.a": False,
        "never.said": True,
    }
    assert payloads(await bob.told()) == [2, 3, 4]


@pytest.mark.parametrize(
    ("epoch", "offset"), [("another", 1), ("", 1), (None, 3), (None, 2**53)], ids=str
)
async def test_a_place_that_never_was_cannot_be_recovered_from(
    place: Place, epoch: str | None, offset: int
) -> None:
    alice, bob = await place.people("alice", "bob")
    await say_often(alice, "chat.a", 1, 2)
    ours, _ = await place_of(alice, "chat.a")
    begin = {"offset": offset, "epoch": ours if epoch is None else epoch}

    assert (await recover(bob, {"chat.a": begin}))["recovered"] == {"chat.a": False}
    assert not await bob.told()
    await alice.broadcast("chat.a", 3)
    assert payloads([await bob.hear()]) == [3]


async def test_a_pattern_of_which_nothing_is_kept_is_not_recovered(start: Start) -> None:
    place = await start(history={"chat.#": {"messages": 100, "seconds": 300}})
    alice, bob = await place.people("alice", "bob")
    await say_often(alice, "news.a", 1)

    starts = {"news.a": EVERYTHING, "news.*": EVERYTHING}
    details = await recover(bob, starts)
    assert details["recovered"] == dict.fromkeys(starts, False)


async def test_a_pattern_is_recovered_though_a_later_namespace_is_off(start: Start) -> None:
    place = await start(
        history={
            "chat.#": {"messages": 100, "seconds": 300},
            "#": {"messages": 0, "seconds": 0},
        }
    )
    alice, bob = await place.people("alice", "bob")
    await say_often(alice, "chat.a", 1)

    details = await recover(bob, {"chat.*": EVERYTHING})
    assert details["recovered"] == {"chat.*": True}
    assert payloads(await bob.told()) == [1]


@pytest.mark.parametrize(
    ("topics", "starts", "where"),
    [
        (["a"], {"b": EVERYTHING}, "data.recover.b"),
        (["a.*"], {"a.*": {"offset": 1, "epoch": "e"}}, "data.recover.a.*"),
        (["a"], {"a": {"offset": 1, "epoch": "e", "since": 1}}, "data.recover.a"),
        (["a"], {"a": {}}, "data.recover.a"),
        (["a"], {"a": {"offset": 1}}, "data.recover.a"),
        (["a"], {"a": {"epoch": "e"}}, "data.recover.a"),
        (["a"], {"a": {"since": 1, "epoch": "e"}}, "data.recover.a"),
        (["a"], {"a": {"since": -1}}, "data.recover"),
        (["a"], {"a": {"since": "1"}}, "data.recover"),
        (["a"], {"a": 5}, "data.recover"),
        (["a"], [], "data.recover"),
    ],
    ids=str,
)
async def test_a_bad_start_is_a_bad_request_that_names_it_and_changes_nothing(
    place: Place, topics: list[str], starts: Any, where: str
) -> None:
    alice = await place.connect("alice")
    error = await alice.refused("Subscribe", {"topics": topics, "recover": starts})
    assert error["code"] == 400
    assert error["details"]["field"].startswith(where)
    assert (await alice.subscribe("other"))["active_subscriptions"] == 1


async def test_recovering_needs_the_right_to_history(place: Place) -> None:
    rights = {"subscribe": ["#"], "history": ["open.#"]}
    alice = await place.connect("alice", permissions=rights)
    data = {"topics": ["closed.a"], "recover": {"closed.a": EVERYTHING}}
    assert (await alice.refused("Subscribe", data))["code"] == 403
    assert (await recover(alice, {"open.a": EVERYTHING}))["recovered"] == {"open.a": True}


@pytest.mark.parametrize("begin", [{"since": 2**70}, {"offset": 2**70, "epoch": "e"}], ids=str)
async def test_a_start_beyond_all_numbers_is_a_bad_request(
    place: Place, begin: dict[str, Any]
) -> None:
    alice = await place.connect("alice")
    data = {"topics": ["a"], "recover": {"a": begin}}
    assert (await alice.refused("Subscribe", data))["code"] == 400

"""What waits in a gateway while the broker is slow or takes nothing: bounded, whoever asks."""

import asyncio

import pytest

from shared.broker import batching
from shared.broker.memory import MemoryConnection
from tests.support.binary import headed
from tests.support.embedded import Gate, Place, Talk, until

MIB = 1_048_576
LARGE = b"x" * 1_000_000


async def send_all(talk: Talk) -> None:
    for number in range(16):
        await talk.send(headed({"topic": f"files.{number}"}, LARGE))


async def outcomes(talk: Talk, number: int) -> list[int]:
    """Return how so many binary messages end: 0 for well, else the code of the Error."""
    return [one["data"].get("code", 0) for one in await talk.hears(number)]


async def test_all_that_waits_in_a_node_is_bounded_and_what_is_too_much_is_refused_at_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "LINE_BYTES", 4 * MIB)
    some = await place.people(*(f"user-{one}" for one in range(5)))
    late = await place.people("late", "later")
    room = place.server.node.uplink._room
    with Gate("router.commands") as gate:
        for number, one in enumerate(some):
            await one.send(headed({"topic": f"files.{number}"}, LARGE))
        await until(lambda: room.taken > 4 * MIB, "there is room for no more")
        for one in late:
            await one.send(headed({"topic": "files"}, LARGE))
            assert await outcomes(one, 1) == [503]
        assert room.taken < 5 * MIB + 10_000
        gate.open()
        assert [await outcomes(one, 1) for one in some] == [[0]] * 5
    await until(lambda: room.taken == 0, "nothing waits any more")
    await late[0].send(headed({"topic": "files"}, LARGE))
    assert await outcomes(late[0], 1) == [0]


async def test_a_client_that_sends_much_is_slowed_down_before_it_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "LINE_BYTES", 8 * MIB)
    alice = await place.connect("alice")
    room = place.server.node.uplink._room
    with Gate("router.commands") as gate:
        sending = asyncio.create_task(send_all(alice))
        await gate.held.wait()
        await until(lambda: room.taken > 3 * MIB, "four are under way")
        assert room.taken < 5 * MIB
        gate.open()
        assert await outcomes(alice, 16) == [0] * 16
    await sending


async def test_a_client_that_subscribes_again_and_again_while_the_broker_is_blocked_leaves_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await place.connect("alice")
    room = place.server.node.uplink._room
    await until(lambda: room.taken == 0, "what came before has left")
    with Gate("router.commands") as gate, monkeypatch.context() as blocked:
        blocked.setattr(MemoryConnection, "is_blocked", True)
        for number in range(20):
            error = await alice.refused("Subscribe", {"topics": [f"topic.{number}", "any.*"]})
            assert error["code"] == 503
        assert (room.taken, place.server.node.uplink.waiting) == (0, 0)
        assert not gate.held.is_set()
    assert (await alice.subscribe("any.*"))["active_subscriptions"] == 1


async def test_a_subscription_is_refused_while_too_much_waits(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "LINE_BYTES", 1)
    alice, bob = await place.people("alice", "bob")
    with Gate("router.commands") as gate:
        await alice.say("Broadcast", {"topic": "chat", "payload": 1})
        await gate.held.wait()
        assert (await bob.refused("Subscribe", {"topics": ["chat"]}))["code"] == 503
        assert place.server.node.uplink.waiting == 0

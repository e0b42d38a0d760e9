"""A gateway that stops sends its clients elsewhere, and cuts nothing short."""

import asyncio
import itertools
import time

import pytest
from aiohttp import ClientConnectorError

from gateway import drain
from shared.broker.listening import listen
from shared.overview import GATEWAY, Overview
from tests.component.conftest import Start
from tests.support.embedded import Gate, Place, Talk, token, until


async def goodbye(talk: Talk) -> tuple[float, int | None, int]:
    """Wait to be sent away; return when, with which close code, and for how long."""
    error = await talk.hear()
    code = await talk.closed()
    return time.monotonic(), code, error["data"]["details"]["reconnect_after_ms"]


def carried_out(place: Place) -> int:
    """Count the commands and facts that the presence service has carried out."""
    return sum(seat.performed for seat in place.server.presence.replica._seats)


async def test_everybody_is_closed_with_1012_at_a_moment_of_their_own(place: Place) -> None:
    people = await place.people(*(f"user{number}" for number in range(20)))
    ends = [asyncio.ensure_future(goodbye(one)) for one in people]
    await place.server.drain.run(window=20)
    went = [await end for end in ends]
    assert {code for _, code, _ in went} == {1012}
    assert len({after for _, _, after in went}) > 10
    assert max(after for _, _, after in went) < 2000
    moments = sorted(at for at, _, _ in went)
    apart = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert max(apart) < sum(apart) / 2, "all at once"


async def test_those_who_are_still_there_are_served_meanwhile(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await place.people("alice", "bob")
    monkeypatch.setattr(drain, "pace", lambda _connections, _window: 3600.0)
    draining = asyncio.ensure_future(place.server.drain.run(window=7200))
    gone = await goodbye(first)
    assert gone[1] == 1012
    await second.subscribe("a.b")
    assert (await second.broadcast("a.b", 1))["status"] == "delivered"
    draining.cancel()


async def test_the_rest_of_the_cluster_is_told_that_a_node_drains(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.people("alice", "bob")
    monkeypatch.setattr(drain, "pace", lambda _connections, _window: 3600.0)
    overview = Overview()
    listening = asyncio.ensure_future(listen(place.server.broker, overview))

    def draining() -> list[bool]:
        processes = overview.processes(time.monotonic())
        return [one.draining for one in processes if one.role == GATEWAY]

    await until(lambda: draining() == [False], "its lease is heard")
    stopping = asyncio.ensure_future(place.server.drain.run(window=7200))
    await until(lambda: draining() == [True], "it says that it drains")
    stopping.cancel()
    listening.cancel()


async def test_a_command_that_is_under_way_is_answered_before_the_close(place: Place) -> None:
    (alice,) = await place.people("alice")
    with Gate("router.commands") as gate:
        await alice.say("Broadcast", {"topic": "a.b", "payload": 1}, id="1")
        await gate.held.wait()
        draining = asyncio.ensure_future(place.server.drain.run(window=0))
        assert (await alice.hear())["data"]["code"] == 503
        gate.open()
        ack = await alice.hear()
        assert (ack["type"], ack["data"]["message_id"]) == ("Ack", "1")
        assert await alice.closed() == 1012
        await draining


async def test_nobody_new_is_let_in(place: Place) -> None:
    await place.server.drain.run(window=0)
    with pytest.raises(ClientConnectorError):
        await place.connect("alice")


async def test_presence_is_told_once_of_all_who_were_sent_away(start: Start) -> None:
    place = await start(partitions=1)
    people = await place.people(*(f"user{number}" for number in range(10)))
    told = carried_out(place)
    await place.server.drain.run(window=0)
    for one in people:
        assert (await goodbye(one))[1] == 1012
    assert carried_out(place) == told


async def test_who_comes_over_a_connection_that_was_kept_alive_is_sent_elsewhere(
    start: Start,
) -> None:
    place = await start()
    async with place.client.session.get(place.client.make_url("/ws")) as refused:
        assert refused.status == 401
        await refused.read()
    await place.server.drain.run(window=0)
    async with place.client.session.get(
        place.client.make_url(f"/ws?token={token('alice')}")
    ) as response:
        assert response.status == 503
        assert response.headers["Connection"] == "close"

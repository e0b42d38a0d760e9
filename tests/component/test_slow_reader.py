"""Clients that do not read (A5, R2, 4413), and what that is to others."""

import gc
import socket
import statistics
import time
import tracemalloc
from typing import Any

import pytest

from gateway import conversation, slow_readers
from gateway.connection import Connection
from gateway.outbox import LAGGING
from shared.errors import Unauthorized
from tests.component.conftest import Start
from tests.support.embedded import Place, Talk, token, until
from tests.support.stalled import stalled

BIG = "x" * 60_000
BOUND = 300_000
ENOUGH = 400
"""Messages that fill the buffers of both sides and of the kernel between them."""


def held_back(place: Place, talk: Talk) -> tuple[Connection, Any]:
    """Return a client's connection as the gateway has it, and its transport."""
    connection = place.server.node.connections.get(talk.id)
    assert connection is not None
    return connection, connection._outbox._transport


async def test_a_client_that_never_reads_is_dropped_and_others_go_on(place: Place) -> None:
    speaker, reader, sleeper = await place.people("speaker", "reader", "sleeper")
    for one in (reader, sleeper):
        await one.subscribe("flood")
    connection, transport = held_back(place, sleeper)
    connection._outbox.limit = BOUND
    counts = []
    for number in range(ENOUGH):
        counts.append((await speaker.broadcast("flood", [number, BIG]))["recipients"])
        assert (await reader.hear())["data"]["payload"][0] == number
        assert transport.get_write_buffer_size() <= BOUND
        if transport.is_closing():
            break
    assert transport.is_closing()
    await place.server.forgotten("sleeper")
    assert sorted(set(counts), reverse=True) == [2, 1]
    assert counts == sorted(counts, reverse=True)  # what is held back is not delivered
    closes = place.server.registry.get_sample_value(
        "realtime_gateway_closes_total", {"code": "4413"}
    )
    assert closes == 1
    assert (await speaker.broadcast("flood", "after"))["recipients"] == 1
    assert (await reader.hear())["data"]["payload"] == "after"


async def test_a_client_dropped_as_slow_can_come_back_to_its_mailbox(place: Place) -> None:
    speaker, sleeper = await place.people("speaker", "sleeper")
    await sleeper.subscribe("flood")
    connection, transport = held_back(place, sleeper)
    connection._outbox.limit = BOUND
    while not transport.is_closing():
        await speaker.broadcast("flood", BIG)
    await place.server.forgotten("sleeper")
    assert len(await speaker.direct("sleeper", "later")) == 2
    again = await place.connect("sleeper")
    assert (await again.hear())["data"]["payload"] == "later"


async def test_who_lagged_for_a_moment_is_still_found_afterwards(place: Place) -> None:
    speaker, bob, watcher = await place.people("speaker", "bob", "watcher")
    await watcher.subscribe("presence.bob")
    await watcher.hear()
    await bob.subscribe("flood")
    connection, transport = held_back(place, bob)
    flooded = 0
    while transport.get_write_buffer_size() < 5 * len(BIG):  # by now nothing flows any more
        await speaker.broadcast("flood", BIG)
        flooded += 1
    assert connection._outbox._protocol.writing_paused
    await speaker.direct("bob", "while lagging")
    while flooded:
        flooded -= (await bob.hear())["type"] == "Broadcast"
    await until(lambda: not transport.get_write_buffer_size(), "bob has caught up")
    for _ in range(2):
        [*_, ack] = await speaker.direct("bob", "caught up")
        assert ack["data"]["delivered_to"] == [bob.id]
    assert not await watcher.told()


async def flooded(place: Place) -> tuple[Talk, Connection, Any]:
    """Return a client that has stopped reading, with all buffers full."""
    speaker, sleeper = await place.people("speaker", "sleeper")
    await sleeper.subscribe("flood")
    connection, transport = held_back(place, sleeper)
    while transport.get_write_buffer_size() < 5 * len(BIG):
        await speaker.broadcast("flood", BIG)
    return sleeper, connection, transport


async def test_a_client_that_does_not_read_is_gone_when_its_token_is_and_nothing_of_it_is_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "CLOSE_SECONDS", 0.1)
    _, connection, transport = await flooded(place)

    connection.end(Unauthorized("The token has expired"))

    await place.server.forgotten("sleeper")
    await until(lambda: not transport.get_write_buffer_size(), "all that was held is dropped")
    assert transport.is_closing()


async def test_a_paused_client_that_is_refused_leaves_no_socket_behind(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "CLOSE_SECONDS", 0.1)
    sleeper, _, transport = await flooded(place)

    for _ in range(10):
        await sleeper.raw("bad")

    await place.server.forgotten("sleeper")
    await until(lambda: not transport.get_write_buffer_size(), "all that was held is dropped")
    assert transport.is_closing()


async def test_a_client_that_lags_gets_no_low_priority_until_it_reads_on(place: Place) -> None:
    speaker, sleeper = await place.people("speaker", "sleeper")
    await sleeper.subscribe("flood")
    connection, transport = held_back(place, sleeper)
    connection._outbox.limit = LAGGING * 2 * len(BIG)
    low = {"metadata": {"priority": "low"}}
    assert (await speaker.broadcast("flood", "low", **low))["recipients"] == 1
    flooded = 0
    while transport.get_write_buffer_size() <= 2 * len(BIG):
        await speaker.broadcast("flood", BIG)
        flooded += 1
    assert (await speaker.broadcast("flood", "shed", **low))["recipients"] == 0
    await speaker.broadcast("flood", "high", metadata={"priority": "high"})
    heard = [(await sleeper.hear())["data"]["payload"] for _ in range(flooded + 2)]
    assert heard == ["low", *[BIG] * flooded, "high"]
    shed = place.server.registry.get_sample_value("realtime_gateway_shed_total")
    assert shed == 1
    await until(lambda: not connection.shed, "it was told of that")
    assert (await sleeper.hear())["data"] == {"status": "shed", "details": {"messages": 1}}
    assert (await speaker.broadcast("flood", "again", **low))["recipients"] == 1
    assert (await sleeper.hear())["data"]["payload"] == "again"


async def test_what_was_shed_is_recovered_on_the_same_connection(place: Place) -> None:
    speaker, sleeper = await place.people("speaker", "sleeper")
    await sleeper.subscribe("flood", "chat.a")
    connection, transport = held_back(place, sleeper)
    connection._outbox.limit = LAGGING * 2 * len(BIG)
    await speaker.broadcast("chat.a", 1)
    flooded = 0
    while transport.get_write_buffer_size() <= 2 * len(BIG):
        await speaker.broadcast("flood", BIG)
        flooded += 1
    low = {"metadata": {"priority": "low"}}
    assert (await speaker.broadcast("chat.a", "shed", **low))["recipients"] == 0
    await speaker.broadcast("chat.a", 3)
    heard = await sleeper.hears(flooded + 2)
    first, last = (one["data"] for one in heard if one["data"]["topic"] == "chat.a")
    assert (first["payload"], last["payload"]) == (1, 3)
    assert (await sleeper.hear())["data"]["status"] == "shed"
    seen = {"epoch": first["metadata"]["epoch"], "offset": first["metadata"]["offset"]}
    await sleeper.ask("Subscribe", {"topics": ["chat.a"], "recover": {"chat.a": seen}})
    assert (await sleeper.hear())["data"]["payload"] == "shed"
    assert await sleeper.told() == []


# ---- many, and others beside them ----------------------------------------------------------------

MANY = 100
NOTHING = {"#": {"messages": 0, "seconds": 0}}


def closes(place: Place) -> float:
    """Return how many the gateway has ended as too slow."""
    found = place.server.registry.get_sample_value(
        "realtime_gateway_closes_total", {"code": "4413"}
    )
    return found or 0


def held(place: Place) -> list[int]:
    """Return what is held back for each client."""
    return [one.held_back for one in place.server.node.connections]


def make_buffers_small(place: Place) -> None:
    """Let the kernel hold little, as a network does; its own memory holds megabytes."""
    for one in place.server.node.connections:
        transport: Any = one._outbox._transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)


async def seconds_to(speaker: Talk, reader: Talk) -> float:
    """Return how long a message takes that a neighbour of the slow ones hears."""
    began = time.perf_counter()
    await speaker.say("Broadcast", {"topic": "calm", "payload": 1})
    while (await reader.hear())["data"]["topic"] != "calm":
        pass
    return time.perf_counter() - began


async def test_a_hundred_stalled_readers_are_reset_and_their_neighbours_do_not_notice(
    start: Start,
) -> None:
    place = await start(history=NOTHING)
    speaker, reader = await place.people("speaker", "reader")
    await reader.subscribe("calm", "flood")
    before = [await seconds_to(speaker, reader) for _ in range(50)]
    port, tokens = place.server.port, [token(f"sleeper-{one}") for one in range(MANY)]
    assert port is not None
    async with stalled(port, tokens, "flood") as sleepers:
        make_buffers_small(place)
        meanwhile, most = [], 0
        while closes(place) < MANY:
            await speaker.broadcast("flood", BIG)
            meanwhile.append(await seconds_to(speaker, reader))
            most = max(most, *held(place))
        resets = [await one.was_reset() for one in sleepers]
    assert resets == [True] * MANY
    assert 500_000 < most <= 1_048_576
    assert statistics.median(meanwhile) < 5 * statistics.median(before)
    await until(lambda: len(place.server.node.connections) == 2, "they are all gone")
    assert (await speaker.broadcast("flood", "after"))["recipients"] == 1


async def test_what_was_held_back_for_stalled_readers_is_no_longer_in_memory(start: Start) -> None:
    place = await start(history=NOTHING)
    [speaker] = await place.people("speaker")
    users = [f"sleeper-{one}" for one in range(10)]
    port = place.server.port
    assert port is not None
    await speaker.broadcast("flood", BIG)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        async with stalled(port, [token(one) for one in users], "flood"):
            make_buffers_small(place)
            while sum(held(place)) < 5_000_000:
                for one in users:  # each gets something of its own, which nobody shares
                    await speaker.direct(one, BIG)
            full = tracemalloc.get_traced_memory()[0]
            while closes(place) < len(users):
                await speaker.broadcast("flood", BIG)
            await until(lambda: not any(held(place)), "nothing is held back")
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert full - before > 5_000_000
    assert after - before < (full - before) / 5


async def test_a_client_that_takes_nothing_is_ended_however_little_it_is_sent(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_readers, "LOOK_SECONDS", 0.01)
    port = place.server.port
    assert port is not None
    speaker, reader = await place.people("speaker", "reader")
    await reader.subscribe("thin")
    async with stalled(port, [token("sleeper")], "thin") as [sleeper]:
        make_buffers_small(place)
        while not any(held(place)):
            await speaker.broadcast("thin", "x" * 1000)
            await reader.hear()
        await place.server.forgotten("sleeper")
        assert await sleeper.was_reset()
    assert closes(place) == 1
    assert (await speaker.broadcast("thin", "after"))["recipients"] == 1

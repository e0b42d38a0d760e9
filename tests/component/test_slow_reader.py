"""Clients that do not read (A5, R2, 4413), and what that is to others."""

from typing import Any

import pytest

from gateway import conversation, slow_readers
from gateway.connection import Connection
from gateway.outbox import LAGGING
from shared.errors import Unauthorized
from tests.support.embedded import Place, Talk, until

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

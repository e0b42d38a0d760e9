"""The admin port, and what becomes of clients while the broker is away."""

import errno
import socket
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import unused_port

from shared.process.admin import admin_server
from tests.component.conftest import Start
from tests.support.embedded import Place, Talk, until


@pytest.fixture
async def admin(place: Place) -> AsyncIterator[ClientSession]:
    """A session to the admin port of a running gateway."""
    server = place.server
    async with (
        admin_server(server.settings, server.registry, lambda: server.ready) as port,
        ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session


async def ask(admin: ClientSession, path: str) -> tuple[int, str]:
    async with admin.get(path) as answer:
        return answer.status, await answer.text()


async def test_a_process_that_works_is_alive_and_ready(admin: ClientSession) -> None:
    assert await ask(admin, "/livez") == (200, "ok\n")
    assert await ask(admin, "/readyz") == (200, "ready\n")


async def test_nothing_else_is_served_there(admin: ClientSession) -> None:
    for path in ("/", "/ws", "/metrics/x"):
        assert (await ask(admin, path))[0] == 404


async def test_while_the_broker_is_away_it_is_alive_but_not_ready(
    place: Place, admin: ClientSession
) -> None:
    place.server.broker.leave()
    await until(lambda: not place.server.node.membership.ready, "it is noticed")
    assert await ask(admin, "/livez") == (200, "ok\n")
    assert await ask(admin, "/readyz") == (503, "not ready\n")
    place.server.broker.away = False
    await until(lambda: place.server.ready, "it is ready again")
    assert (await ask(admin, "/readyz"))[0] == 200


async def test_metrics_count_what_happens_and_name_nobody(
    place: Place, admin: ClientSession
) -> None:
    alice, bob = await place.people("alice-the-person", "bob-the-person")
    await bob.subscribe("topic-of-theirs")
    await alice.broadcast("topic-of-theirs", 1)
    await alice.raw("bad")
    await alice.told()
    status, text = await ask(admin, "/metrics")
    assert status == 200
    lines = text.splitlines()
    for sample in (
        "realtime_gateway_topic_deliveries_total 1.0",
        'realtime_gateway_errors_total{code="400"} 1.0',
        "realtime_router_nodes 1.0",
        "realtime_router_partitions 2.0",
        "realtime_presence_partitions 2.0",
    ):
        assert sample in lines
    assert not [word for word in ("person", "topic-of", alice.id) if word in text]


async def test_commands_are_measured_by_their_type_once_they_are_answered(
    place: Place, admin: ClientSession
) -> None:
    (alice,) = await place.people("alice")
    await alice.subscribe("a")
    await alice.broadcast("a", 1)
    lines = (await ask(admin, "/metrics"))[1].splitlines()
    for kind in ("Subscribe", "Broadcast"):
        assert f'realtime_gateway_commands_total{{type="{kind}"}} 1.0' in lines
        assert f'realtime_gateway_command_seconds_count{{type="{kind}"}} 1.0' in lines
    assert min(place.server.node.metrics.latency.percentiles_ms(time.monotonic())) > 0


async def test_a_batch_is_measured_and_so_is_each_of_its_operations(
    place: Place, admin: ClientSession
) -> None:
    (alice,) = await place.people("alice")
    ping = {"type": "Ping", "data": {}}
    await alice.ask("Batch", {"operations": [ping, ping]})
    lines = (await ask(admin, "/metrics"))[1].splitlines()
    assert 'realtime_gateway_command_seconds_count{type="Ping"} 2.0' in lines
    assert 'realtime_gateway_command_seconds_count{type="Batch"} 1.0' in lines


async def test_no_type_that_clients_invent_becomes_a_series(
    place: Place, admin: ClientSession
) -> None:
    async def series() -> int:
        return (await ask(admin, "/metrics"))[1].count("\n")

    (alice,) = await place.people("alice")
    for number in (1, 2):  # the code of the error is a series from the first time on
        await alice.refused(f"X-Invented{number}", {})
        await alice.refused(f"Invented{number}", {})
        if number == 1:
            before = await series()
    assert await series() == before
    text = (await ask(admin, "/metrics"))[1]
    assert "Invented" not in text
    assert 'realtime_gateway_commands_total{type="X-"} 2.0' in text
    assert 'realtime_gateway_commands_total{type="unknown"} 2.0' in text


async def test_the_port_is_the_one_that_was_asked_for(start: Start) -> None:
    port = unused_port()
    server = (await start(admin_port=port)).server
    async with admin_server(server.settings, server.registry, lambda: True) as listening:
        assert listening == port
        with pytest.raises(OSError, match=r"(?i)address already in use"):
            async with admin_server(server.settings, server.registry, lambda: True):
                pass


# ---- clients while the broker is away ------------------------------------------------------------


async def away(place: Place) -> tuple[Talk, Talk]:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("a")
    place.server.broker.leave()
    await until(lambda: not place.server.node.membership.ready, "it is noticed")
    return alice, bob


async def test_a_port_that_another_process_takes_at_the_same_moment_is_left_to_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have bound it, and the other one listens first."""
    lost: list[int] = []
    listen = socket.socket.listen

    def listen_second(one: socket.socket, *backlog: int) -> None:
        if not lost:
            lost.append(one.getsockname()[1])
            raise OSError(errno.EADDRINUSE, "taken")
        listen(one, *backlog)

    server = (await start(admin_port=None)).server
    monkeypatch.setattr(socket.socket, "listen", listen_second)
    async with admin_server(server.settings, server.registry, lambda: True) as port:
        assert lost
        assert port > lost[0]


async def test_commands_are_refused_while_the_broker_is_away(place: Place) -> None:
    alice, _bob = await away(place)
    for kind, data in (
        ("Subscribe", {"topics": ["a"]}),
        ("Broadcast", {"topic": "a", "payload": 1}),
        ("DirectMessage", {"target_user": "bob", "payload": 1}),
        ("Presence", {"status": "away"}),
    ):
        error = await alice.refused(kind, data)
        assert error["code"] == 503
        assert error["details"]["retry_after_ms"] > 0
    assert len(await alice.ask("Ping", {})) == 2
    place.server.broker.away = False
    await until(lambda: place.server.ready, "it is ready again")


async def test_conversations_outlive_the_brokers_absence(place: Place) -> None:
    alice, bob = await away(place)
    place.server.broker.away = False
    await until(lambda: place.server.ready, "it is ready again")
    assert (await alice.broadcast("a", 1))["recipients"] == 1
    [ack] = await alice.direct("bob", 2)
    assert ack["data"]["delivered_to"] == [bob.id]
    assert [one["data"]["payload"] for one in await bob.told()] == [1, 2]

"""What makes each metric move: scenes, each with the series that it moves.

A scene lasts until its series have moved, for some of them go back when it is over.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import TypeAlias
from unittest.mock import Mock

import pytest
from msgspec import Raw
from ulid import ULID

from gateway import drain, outbox
from gateway.core.limits import Allowance
from shared.broker import topology
from shared.broker.memory import MemoryConnection
from shared.errors import (
    Flooding,
    NodeFull,
    Overloaded,
    RateLimited,
    TooManyConnections,
    TooManyHandshakes,
)
from shared.messages import codec
from shared.messages.envelopes import CommandBatch, Numbered, RouteBroadcast, Sender
from shared.partitions import partition_of
from tests.component.staging import Stall, held_by_consumers, topic_of
from tests.support.embedded import Gate, Place, Talk, token, until

Scene: TypeAlias = Callable[[Place, pytest.MonkeyPatch], AbstractAsyncContextManager[None]]
SCENES: dict[Scene, tuple[str, ...]] = {}
SETTINGS = {
    "extensions": ["extensions.example"],
    "history": {"#": {"messages": 1, "seconds": 60}},
}
TOPIC = topic_of(0)
BIG = "x" * 60_000


def moves(*series: str) -> Callable[[Scene], Scene]:
    """Say which series a scene moves."""

    def listed(scene: Scene) -> Scene:
        SCENES[scene] = series
        return scene

    return listed


def of_both(*names: str) -> list[str]:
    """Return what the router and the presence service have under these names."""
    return [f"realtime_{service}_{name}" for service in ("router", "presence") for name in names]


# ---- what goes well ------------------------------------------------------------------------------


@moves(
    "realtime_event_loop_lag_seconds_count",
    "realtime_gateway_accepts_total",
    'realtime_gateway_batch_items_count{direction="received"}',
    'realtime_gateway_batch_items_count{direction="sent"}',
    'realtime_gateway_batches_total{service="presence"}',
    'realtime_gateway_batches_total{service="router"}',
    'realtime_gateway_command_seconds_count{type="Broadcast"}',
    'realtime_gateway_commands_total{type="Broadcast"}',
    "realtime_gateway_connections",
    'realtime_gateway_delivery_age_seconds_count{kind="direct"}',
    'realtime_gateway_delivery_age_seconds_count{kind="topic"}',
    "realtime_gateway_direct_deliveries_total",
    "realtime_gateway_received_bytes_total",
    "realtime_gateway_sent_bytes_total",
    "realtime_gateway_topic_deliveries_total",
    "realtime_presence_users",
    "realtime_router_patterns",
    *of_both("batch_items_count", "command_age_seconds_count", "performed_total"),
)
@asynccontextmanager
async def people_talk(place: Place, _: pytest.MonkeyPatch) -> AsyncIterator[None]:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe(TOPIC)
    await alice.broadcast(TOPIC, 1)
    await alice.direct("bob", 2)
    yield


@moves("realtime_presence_mailbox_messages")
@asynccontextmanager
async def somebody_writes_to_who_is_away(
    place: Place, _: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    alice = await place.connect("alice")
    await alice.direct("bob", 1)
    yield


@moves('realtime_worker_commands_total{outcome="done"}')
@asynccontextmanager
async def a_worker_carries_something_out(
    place: Place, _: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    alice = await place.connect("alice")
    await alice.ask("X-CustomAction", {"action": "special"})
    yield


@moves("realtime_gateway_draining", 'realtime_gateway_closes_total{code="1012"}')
@asynccontextmanager
async def the_gateway_stops(place: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    await place.people("alice", "bob")
    monkeypatch.setattr(drain, "pace", lambda _connections, _window: 3600.0)
    draining = asyncio.ensure_future(place.server.drain.run(window=7200))
    yield
    draining.cancel()


# ---- what is refused -----------------------------------------------------------------------------


@moves(
    'realtime_gateway_refusals_total{reason="origin"}',
    'realtime_gateway_refusals_total{reason="request"}',
    'realtime_gateway_refusals_total{reason="token"}',
    'realtime_gateway_refusals_total{reason="upgrade"}',
)
@asynccontextmanager
async def clients_are_not_let_in(place: Place, _: pytest.MonkeyPatch) -> AsyncIterator[None]:
    await place.client.get("/ws", headers={"Origin": "https://elsewhere.example"})
    await place.client.get("/ws?token=one&token=another")
    await place.client.get("/ws?token=bad")
    await place.client.get(f"/ws?token={token('alice')}")
    yield


@moves(
    'realtime_gateway_refusals_total{reason="full"}',
    'realtime_gateway_refusals_total{reason="overload"}',
    'realtime_gateway_refusals_total{reason="rate"}',
    'realtime_gateway_refusals_total{reason="connections"}',
)
@asynccontextmanager
async def too_many_come(place: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    for error in (NodeFull(), Overloaded(), TooManyHandshakes(), TooManyConnections()):
        with monkeypatch.context() as during:
            during.setattr(place.server.node.admission, "ask", Mock(side_effect=error))
            await place.client.get("/ws")
    yield


@moves(
    'realtime_gateway_errors_total{code="429"}',
    'realtime_gateway_closes_total{code="4429"}',
)
@asynccontextmanager
async def a_client_asks_too_much(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    alice = await place.connect("alice")
    for error in (RateLimited(), Flooding()):
        monkeypatch.setattr(Allowance, "take", Mock(side_effect=error))
        await alice.say("Ping", {})
        await alice.hear()
    yield


@moves(
    'realtime_gateway_errors_total{code="400"}',
    'realtime_gateway_closes_total{code="4400"}',
)
@asynccontextmanager
async def a_client_talks_nonsense(place: Place, _: pytest.MonkeyPatch) -> AsyncIterator[None]:
    alice = await place.connect("alice")
    for _number in range(10):
        await alice.raw("bad")
    yield


@moves("realtime_gateway_outbox_bytes", "realtime_gateway_shed_total")
@asynccontextmanager
async def a_client_does_not_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    speaker, sleeper = await place.people("speaker", "sleeper")
    await sleeper.subscribe(TOPIC)
    connection = place.server.node.connections.get(sleeper.id)
    assert connection is not None
    connection._outbox.limit = outbox.LAGGING * len(BIG)
    while not connection.lags:
        await speaker.broadcast(TOPIC, BIG)
    await speaker.broadcast(TOPIC, "shed", metadata={"priority": "low"})
    yield


@moves(*of_both("poisoned_total"))
@asynccontextmanager
async def what_makes_no_sense_arrives(place: Place, _: pytest.MonkeyPatch) -> AsyncIterator[None]:
    for service in (topology.ROUTER, topology.PRESENCE):
        await hand_in(place, service, b"\xc1")
    yield


# ---- what goes wrong -----------------------------------------------------------------------------


@moves("realtime_gateway_gaps_total", "realtime_gateway_lost_total")
@asynccontextmanager
async def deliveries_are_lost(place: Place, _: pytest.MonkeyPatch) -> AsyncIterator[None]:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe(TOPIC)
    with Stall("inbox.") as stall:
        for number in range(3):
            await say(alice, number)
        await until(lambda: stall.waiting > 0, "they wait in the inbox")
        await until(lambda: not held_by_consumers(place, "router.commands"), "all are delivered")
        for queue in stall._stalled.values():
            queue._messages.clear()
    await say(alice, "later")
    yield


@moves("realtime_gateway_receipts_dropped_total")
@asynccontextmanager
async def who_has_asked_is_gone(place: Place, _: pytest.MonkeyPatch) -> AsyncIterator[None]:
    bob = await place.connect("bob")
    await bob.subscribe(TOPIC)
    await hand_in(place, topology.ROUTER, codec.encode(RouteBroadcast("broadcast_1", TOPIC, b"1")))
    yield


@moves("realtime_gateway_waiting")
@asynccontextmanager
async def the_broker_does_not_confirm(place: Place, _: pytest.MonkeyPatch) -> AsyncIterator[None]:
    alice = await place.connect("alice")
    partition = partition_of(TOPIC, place.server.settings.partitions)
    with Gate(topology.commands(topology.ROUTER, partition).name) as gate:
        await say(alice, "in flight")
        await gate.held.wait()
        await say(alice, "in line")
        yield


@moves("realtime_router_waiting")
@asynccontextmanager
async def the_router_does_not_get_on(place: Place, _: pytest.MonkeyPatch) -> AsyncIterator[None]:
    async with stuck(place, "inbox.") as alice:
        await say(alice, "waiting")
        yield


@moves("realtime_presence_waiting")
@asynccontextmanager
async def the_presence_service_does_not_get_on(
    place: Place, _: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    async with stuck(place, "direct.") as alice:
        await alice.say("DirectMessage", {"target_user": "bob", "payload": "waiting"})
        yield


@moves(
    "realtime_broker_connected",
    "realtime_router_nodes",
    *of_both("partitions"),
)
@asynccontextmanager
async def the_broker_is_away(place: Place, _: pytest.MonkeyPatch) -> AsyncIterator[None]:
    place.server.broker.leave()
    yield
    place.server.broker.away = False
    await until(lambda: place.server.ready, "all is well again")


@moves("realtime_broker_blocked")
@asynccontextmanager
async def the_broker_is_short_of_memory(
    _: Place, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    with monkeypatch.context() as until_then:
        until_then.setattr(MemoryConnection, "is_blocked", property(lambda _: True))
        yield


@moves(*of_both("takeovers_total"))
@asynccontextmanager
async def reigns_end(place: Place, _: pytest.MonkeyPatch) -> AsyncIterator[None]:
    cut_services(place)
    yield


@moves(*of_both("logs_refused"))
@asynccontextmanager
async def logs_lose_their_beginning(place: Place, _: pytest.MonkeyPatch) -> AsyncIterator[None]:
    queues = place.server.broker._queues
    for service in (topology.ROUTER, topology.PRESENCE):
        queues[f"{service}.log.0"]._messages.popleft()
    cut_services(place)
    yield


# ---- how it is done ------------------------------------------------------------------------------


async def say(talk: Talk, payload: object) -> None:
    """Broadcast and wait for nothing."""
    await talk.say("Broadcast", {"topic": TOPIC, "payload": payload})


@asynccontextmanager
async def stuck(place: Place, queue: str) -> AsyncIterator[Talk]:
    """Have owners wait for what they deliver to queues whose names begin so."""
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe(TOPIC)
    with Gate(queue) as gate:
        await say(alice, "held")
        await alice.say("DirectMessage", {"target_user": "bob", "payload": "held"})
        await gate.held.wait()
        yield alice


STRANGER = Sender("stranger", str(ULID()), str(ULID()))
NUMBERS = count(1)


async def hand_in(place: Place, service: str, envelope: bytes) -> None:
    """Have a stranger, whose answers nobody takes, hand something in at the first partition."""
    channel = await (await place.server.broker.connect("stranger")).channel()
    items = [Numbered(next(NUMBERS), Raw(envelope))]
    body = codec.encode(CommandBatch(STRANGER, "answers.stranger", items))
    await channel.publish(body, topology.queue_address(topology.commands(service, 0)))


def cut_services(place: Place) -> None:
    """Cut the router and the presence service off from the broker for a moment."""
    for service in (topology.ROUTER, topology.PRESENCE):
        place.server.broker.cut(f"{service} {place.server.settings.node_id}")

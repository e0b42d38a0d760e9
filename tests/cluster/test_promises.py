"""What a confirm promises, on two gateways, two routers and two presence services."""

import asyncio
from pathlib import Path

import pytest

from realtime_client import Client, connect
from shared.release import RELEASE
from standalone.local_cluster import LocalCluster
from standalone.tokens import development_token
from tests.support.broker import Troubled
from tests.support.cluster import (
    Hearing,
    balanced,
    clients,
    eventually,
    make_cluster,
    metric,
    url_of,
)

pytestmark = pytest.mark.rabbitmq

TRIALS = 2000
LANES = 8


async def subscribe_then_broadcast(speaker: Client, listener: Client, lane: int) -> int:
    """Return in how many trials a broadcast right after the Status arrived."""
    hearing, hits = Hearing(listener), 0
    for trial in range(TRIALS // LANES):
        topic = f"race.l{lane}.t{trial}"
        pattern = topic if trial % 2 else f"race.l{lane}.t{trial}.#"
        await listener.subscribe(pattern)
        ack = await speaker.broadcast(topic, trial)
        arrived = await hearing.until(lambda one, t=topic: one["data"].get("topic") == t)
        await listener.unsubscribe(pattern)
        hits += ack["recipients"] == 1 and arrived["data"]["payload"] == trial
    hearing.stop()
    return hits


async def test_what_is_broadcast_right_after_the_status_arrives_from_the_other_gateway(
    cluster: LocalCluster,
) -> None:
    speakers = [(url_of(cluster, 0), f"speaker{lane}") for lane in range(LANES)]
    listeners = [(url_of(cluster, 1), f"listener{lane}") for lane in range(LANES)]
    async with clients(*speakers) as speaking, clients(*listeners) as listening:
        pairs = enumerate(zip(speaking, listening, strict=True))
        hits = await asyncio.gather(
            *(subscribe_then_broadcast(one, other, lane) for lane, (one, other) in pairs)
        )
    assert sum(hits) == TRIALS


async def welcome_then_message(url: str, sender: Client, lane: int) -> int:
    """Return in how many trials a message right after the target's Welcome was delivered."""
    hits = 0
    for trial in range(TRIALS // LANES):
        user = f"target{lane}-{trial}"
        async with await connect(url, development_token(user)) as target:
            ack = await sender.direct_message(user, trial)
            hearing = Hearing(target)
            arrived = await hearing.until(lambda one: one["type"] == "DirectMessage")
            hearing.stop()
            told = ack.get("delivered_to") == [target.connection_id]
            hits += told and arrived["data"]["payload"] == trial
    return hits


async def test_a_direct_message_right_after_the_welcome_arrives(cluster: LocalCluster) -> None:
    senders = [(url_of(cluster, 0), f"sender{lane}") for lane in range(LANES)]
    async with clients(*senders) as sending:
        hits = await asyncio.gather(
            *(
                welcome_then_message(url_of(cluster, 1), sender, lane)
                for lane, sender in enumerate(sending)
            )
        )
    assert sum(hits) == TRIALS


async def test_recipients_are_exact_across_nodes_and_overlapping_patterns(
    cluster: LocalCluster,
) -> None:
    places = [(url_of(cluster, n % 2), f"user{n}") for n in range(20)]
    async with clients(*places) as connected:
        for number, client in enumerate(connected):
            patterns = ["sum.a.b", "sum.*.b", "sum.#", "other.#"][number % 4 :]
            await client.subscribe(*patterns)
        expected = sum(1 for number in range(20) if number % 4 < 3)
        for _ in range(50):
            ack = await connected[0].broadcast("sum.a.b", {})
            assert (ack["status"], ack["recipients"]) == ("delivered", expected)
        ack = await connected[1].broadcast("nobody.here", {})
        assert (ack["status"], ack["recipients"]) == ("delivered", 0)


async def test_each_broadcast_reaches_a_connection_once_and_in_order(
    cluster: LocalCluster,
) -> None:
    async with clients((url_of(cluster, 0), "one"), (url_of(cluster, 1), "two")) as (one, two):
        await two.subscribe("order.#", "order.x", "*.x")
        hearing = Hearing(two)
        await asyncio.gather(*(one.broadcast("order.x", number) for number in range(500)))
        await hearing.until(lambda message: message["data"].get("payload") == 499)
        assert hearing.payloads() == list(range(500))
        hearing.stop()


async def test_nodes_without_interest_get_no_delivery_at_all(
    rabbitmq: Troubled, tmp_path: Path
) -> None:
    rabbitmq.ctl("add_vhost", "four")
    rabbitmq.ctl("set_permissions", "-p", "four", "guest", ".*", ".*", ".*")
    with make_cluster(f"{rabbitmq.url}four", tmp_path, gateways=4) as four:
        gateways = four.of("gateway")

        def batches() -> list[float]:
            name = 'realtime_gateway_batches_total{service="router"}'
            return [metric(gateway.ask("/metrics"), name) for gateway in gateways]

        places = [(url_of(four, 0), "listener"), (url_of(four, 1), "speaker")]
        async with clients(*places) as (listener, speaker):
            await listener.subscribe("only.here")
            await balanced(four, "router")
            await speaker.broadcast("only.here", "the owner knows all interest from here on")
            before = batches()
            for number in range(200):
                ack = await speaker.broadcast("only.here", number)
                assert (ack["status"], ack["recipients"]) == ("delivered", 1)
            await eventually(lambda: batches()[0] > before[0], 5, "deliveries are counted")
            assert batches()[1:] == before[1:]


async def test_every_process_tells_that_it_is_connected_and_what_it_takes(
    cluster: LocalCluster,
) -> None:
    for service in cluster.services:
        series = service.ask("/metrics")
        assert metric(series, "realtime_broker_connected") == 1
        assert metric(series, "realtime_broker_blocked") == 0
        assert metric(series, f'realtime_build_info{{version="{RELEASE}"}}') == 1
        assert metric(series, "realtime_event_loop_lag_seconds_count") > 0
        assert metric(series, "process_resident_memory_bytes") > 0

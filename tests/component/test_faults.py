"""What does not belong on the bus, and faults of our own, disturb nothing else."""

import asyncio

import pytest
from msgspec import Raw

from gateway.core.session import Session
from gateway.core.tally import Tally
from shared.broker import topology
from shared.broker.ports import Address, Arrived
from shared.messages import codec
from shared.messages.envelopes import CommandBatch, Numbered, RouteBroadcast, Sender
from shared.messages.news import LeaseEnded
from tests.support.embedded import PATIENCE, Place, until

STRANGER = Sender("stranger", "01", "01")
NO_BATCHES = [b"", b"\xc1 no MessagePack", b"\x91" * 3000, codec.encode([1, 2, 3])]
BAD_ENVELOPES = [
    b"\x00",
    codec.encode(["no", "such", "tag"]),
    codec.encode({"topic": float("nan")}),
    codec.encode([1, "id", 7, "the topic is no text"]),
    b"\x91" * 300 + b"\x00",
]


async def poisoned(place: Place) -> list[bytes]:
    """Return what was put aside, and leave it there."""
    channel = await (await place.server.broker.connect("operator")).channel()
    found: list[Arrived] = []
    while (arrived := await channel.take(topology.POISON.name)) is not None:
        found.append(arrived)
    await channel.close()
    return [one.body for one in found]


@pytest.mark.parametrize("service", [topology.ROUTER, topology.PRESENCE])
async def test_bad_envelopes_are_put_aside_one_by_one_and_good_ones_around_them_work(
    place: Place, service: str
) -> None:
    [alice] = await place.people("alice")
    await alice.subscribe("good.topic")
    channel = await (await place.server.broker.connect("stranger")).channel()
    around = [
        codec.encode(RouteBroadcast(message_id, "good.topic", b"1", answer=False))
        if service == topology.ROUTER
        else b"\x00"
        for message_id in ("m1", "m2")
    ]
    bodies = [around[0], *BAD_ENVELOPES, around[1]]
    items = [Numbered(n, Raw(body)) for n, body in enumerate(bodies, 1)]
    batch = codec.encode(CommandBatch(STRANGER, "", items))

    for partition in range(place.server.settings.partitions):
        queue = topology.queue_address(topology.commands(service, partition))
        for body in NO_BATCHES:
            await channel.publish(body, queue, persistent=True)
        await channel.publish(batch, queue, persistent=True)

    if service == topology.ROUTER:  # the one partition that serves the topic delivers both
        assert [one["data"]["payload"] for one in await alice.hears(2)] == [1, 1]
    expected = {*NO_BATCHES, *BAD_ENVELOPES}
    async with asyncio.timeout(PATIENCE):
        while not expected <= set(await poisoned(place)):
            await alice.told()
    assert (await alice.broadcast("good.topic", 2))["recipients"] == 1
    [*_, ack] = await alice.direct("alice", 3)
    assert ack["data"]["status"] == "delivered"


@pytest.mark.parametrize("queue", ["inbox", "direct", "answers", "news"])
async def test_bad_deliveries_answers_and_news_are_ignored(place: Place, queue: str) -> None:
    [alice] = await place.people("alice")
    await alice.subscribe("good.topic")
    broker = place.server.broker
    channel = await (await broker.connect("stranger")).channel()
    for name in [name for name in broker._queues if name.startswith(f"{queue}.")]:
        for body in NO_BATCHES + BAD_ENVELOPES:
            await channel.publish(body, Address(queue=name))

    assert (await alice.broadcast("good.topic", 1))["recipients"] == 1
    [*_, ack] = await alice.direct("alice", 2)
    assert ack["data"]["status"] == "delivered"


async def test_a_fault_of_ours_is_a_500_whose_incident_is_in_the_log_and_nothing_of_the_inside(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [alice] = await place.people("alice")

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a secret of the inside")

    with monkeypatch.context() as broken:
        broken.setattr(Session, "_publish", fail)
        await alice.say("Broadcast", {"topic": "a.b", "payload": 1}, id="1")
        [error] = await alice.hears(1)

    assert (error["type"], error["data"]["code"]) == ("Error", 500)
    assert "secret" not in str(error)
    assert error["data"]["details"]["incident"] in capsys.readouterr().out
    assert (await alice.broadcast("a.b", 2))["status"] == "delivered"


async def test_a_fault_before_a_command_has_left_does_not_stall_the_replies_behind_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    [alice] = await place.people("alice")

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(place.server.node.uplink, "broadcast", fail)
        error = await alice.refused("Broadcast", {"topic": "a.b", "payload": 1}, id="1")

    assert (error["code"], error["details"]["message_id"]) == (500, "1")
    assert (await alice.broadcast("a.b", 2))["status"] == "delivered"


async def test_a_fault_while_waiting_for_the_outcome_names_the_command(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    [alice] = await place.people("alice")

    def fail(*_: object, **__: object) -> "asyncio.Future[Tally]":
        outcome: asyncio.Future[Tally] = asyncio.get_running_loop().create_future()
        outcome.set_exception(ZeroDivisionError())
        return outcome

    with monkeypatch.context() as broken:
        broken.setattr(place.server.node.answers, "collect", fail)
        error = await alice.refused("Broadcast", {"topic": "a.b", "payload": 1}, id="1")

    assert error["code"] == 500
    assert error["details"].keys() == {"incident", "message_id"}


async def test_sockets_and_subscriptions_outlive_the_broker_and_commands_hear_503_meanwhile(
    place: Place,
) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("still.here")
    place.server.broker.leave()
    await until(lambda: not place.server.node.membership.ready, "the loss is noticed")

    for kind, data in (
        ("Broadcast", {"topic": "still.here", "payload": 1}),
        ("DirectMessage", {"target_user": "bob", "payload": 1}),
        ("Subscribe", {"topics": ["new.topic"]}),
        ("Presence", {"status": "away"}),
    ):
        error = await alice.refused(kind, data)
        assert error["code"] == 503
        assert error["details"]["retry_after_ms"] > 0

    place.server.broker.away = False
    await until(lambda: place.server.ready, "all is well again")
    assert (await alice.broadcast("still.here", 2))["recipients"] == 1
    assert (await bob.hear())["data"]["payload"] == 2
    [*_, ack] = await alice.direct("bob", 3)
    assert ack["data"]["status"] == "delivered"


async def test_a_lease_that_was_given_up_is_taken_anew_with_all_that_the_node_holds(
    place: Place,
) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("still.here")
    membership = place.server.node.membership
    before = (await membership.life()).sender

    news = codec.encode(LeaseEnded(before, clean=False))
    channel = await (await place.server.broker.connect("stranger")).channel()
    await channel.publish(news, topology.fanout_address(topology.FROM_SERVICES))
    await until(lambda: not membership.ready, "the news is heard")
    await until(lambda: place.server.ready, "a new boot is ready")

    assert (await membership.life()).sender.boot > before.boot
    assert (await alice.broadcast("still.here", 1))["recipients"] == 1
    [*_, ack] = await alice.direct("bob", 2)
    assert ack["data"]["status"] == "delivered"

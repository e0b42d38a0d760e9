"""What a node reports of what it was given: gateway/downlink.py."""

import asyncio

import pytest

from gateway.core import gaps
from shared.broker.ports import Arrived
from shared.messages import codec
from shared.messages.answers import DirectReceipt, Receipt, Routed, Stored
from shared.messages.deliveries import ReplayEnded
from shared.messages.envelopes import ReplayAsked
from tests.unit.builders import direct_delivery, topic_delivery
from tests.unit.gateway_node import GatewayNode

STORED = Stored("ask", "m", queued=True)


@pytest.fixture
def node() -> GatewayNode:
    return GatewayNode("n1")


def test_a_broadcast_is_reported_with_its_count_if_somebody_asks(node):
    node.client("c1", "bob", "chat.general")

    node.deliver(topic_delivery(number=1, ask="one"), topic_delivery(number=2, report_to=""))

    assert node.reports == [Receipt("one", "n1", 1)]


async def test_who_waits_on_this_node_is_told_at_once_and_nobody_else(node):
    node.client("c1", "bob", "chat.general")
    outcome = node.answers.collect("one", receipt_seconds=1.0)

    node.deliver(topic_delivery(number=1, ask="one"), topic_delivery(number=2, ask="two"))
    assert node.reports == [Receipt("two", "n1", 1)]
    node.answers.take(Routed("one", "one", ["n1"], complete=True))
    assert (await outcome).recipients == 1


def test_a_direct_message_is_reported_with_its_connections(node):
    node.client("c1")
    node.client("c2")

    node.direct(direct_delivery())

    assert node.reports == [DirectReceipt("dm_1", "n1", ["c1", "c2"])]
    assert node.uplink.handed_back == []


def test_a_direct_message_for_nobody_is_handed_back(node):
    node.direct(direct_delivery())

    assert [one.delivery for one in node.uplink.handed_back] == [direct_delivery()]


def test_broadcasts_of_an_owner_that_was_deposed_are_dropped(node):
    client = node.client("c1", "bob", "chat.general")

    node.deliver(topic_delivery(number=1), term=2)
    node.deliver(topic_delivery(number=2), term=1)
    node.deliver(topic_delivery(number=3), term=2)
    node.deliver(topic_delivery(number=4), term=1, partition=1)

    assert len(client.frames) == 3


def test_direct_messages_of_an_owner_that_was_deposed_are_delivered_for_they_have_ids(node):
    client = node.client("c1")

    node.direct(direct_delivery(message_id="dm_1"), term=2)
    node.direct(direct_delivery(message_id="dm_2"), term=1)

    assert len(client.frames) == 2


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x93\x00\x01\x91\x01"])
def test_bad_deliveries_and_answers_are_ignored_and_the_broker_need_not_keep_them(node, body):
    acknowledged = []

    node.downlink.inbox(body)
    node.downlink.direct(body, lambda: acknowledged.append(body))
    node.downlink.answer(Arrived(body, 1))

    assert acknowledged == [body]


def test_a_parcel_without_messages_is_acknowledged(node):
    assert [node.direct()] == node.acknowledged


async def test_an_answer_is_passed_to_whoever_waits_for_it(node):
    waiting = asyncio.ensure_future(node.answers.one("ask"))
    await asyncio.sleep(0)

    node.downlink.answer(Arrived(codec.encode([Stored("other", "m", queued=True), STORED]), 1))

    assert await waiting == STORED


# ---- broadcasts that are missing -----------------------------------------------------------------


def kept(serial: int, *, replayed: bool = False):
    return topic_delivery(
        number=serial, message_id=f"m{serial}", serial=serial, replayed=replayed, report_to=""
    )


def test_what_is_missing_is_asked_for_and_what_comes_after_it_waits(node):
    client = node.client("c1", "bob", "chat.general")
    node.deliver(kept(1))
    node.deliver(kept(3), skipped=1)
    assert len(client.frames) == 1
    assert node.uplink.asked_replay == [(0, ReplayAsked(1, 1))]

    node.deliver(kept(2, replayed=True), kept(3, replayed=True), ReplayEnded(1, lost=0))

    heard = [one["data"]["metadata"]["message_id"] for one in client.heard]
    assert heard == ["m1", "m2", "m3"]


def test_what_has_waited_too_long_goes_on_without_what_is_missing(node, monkeypatch):
    client = node.client("c1", "bob", "chat.general")
    node.deliver(kept(2), skipped=1)
    node.downlink.go_on()
    assert client.frames == []

    monkeypatch.setattr(gaps, "PATIENCE", -1)
    node.downlink.go_on()

    assert len(client.frames) == 1


def test_a_new_inbox_asks_for_what_the_old_one_may_have_held(node):
    node.downlink.begin()
    assert node.uplink.asked_replay == []
    node.deliver(kept(1), partition=3)

    node.downlink.begin()

    assert node.uplink.asked_replay == [(3, ReplayAsked(1, 1))]

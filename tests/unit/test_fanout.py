"""One broadcast to many sockets: gateway/fanout.py, with connections that have no sockets."""

import json
import zlib
from unittest import mock

import msgspec
import pytest

from gateway import fanout
from gateway.core.wire import WINDOW_BITS, text_frame
from shared.errors import SlowConsumer
from shared.messages import frames
from shared.messages.forms import Form
from tests.unit.builders import topic_delivery
from tests.unit.gateway_node import GatewayNode


@pytest.fixture
def node() -> GatewayNode:
    return GatewayNode()


# ---- broadcasts ----------------------------------------------------------------------------------


def test_all_who_want_a_topic_are_written_the_same_frame(node):
    first = node.client("c1", "bob", "chat.*")
    second = node.client("c2", "eve", "chat.general")
    other = node.client("c3", "eve", "news")
    delivery = topic_delivery()

    assert node.to_topic(delivery, 0) == 2
    assert first.frames == second.frames == [text_frame(frames.topic_delivery(delivery))]
    assert first.frames[0] is second.frames[0]
    assert other.frames == []


def test_overlapping_patterns_make_one_copy(node):
    client = node.client("c1", "bob", "chat.*", "chat.general", "chat.#", "#")

    assert node.to_topic(topic_delivery(), 0) == 1
    assert len(client.frames) == 1


def test_the_sender_hears_itself_unless_it_opted_out(node):
    own = node.client("c1", "alice", "chat.general")
    other = node.client("c2", "alice", "chat.general")

    assert node.to_topic(topic_delivery(number=1), 0) == 2
    assert node.to_topic(topic_delivery(number=2, except_connection="c1"), 0) == 1
    assert len(own.frames) == 1
    assert len(other.frames) == 2


def test_a_slow_reader_is_written_but_not_counted(node):
    client = node.client("c1", "bob", "chat.general")
    client.slow = True

    assert node.to_topic(topic_delivery(), 0) == 0
    assert len(client.frames) == 1


def test_who_lags_is_spared_low_priority_alone_and_that_is_counted(node):
    client = node.client("c1", "bob", "chat.general")
    client.lags = True

    assert node.to_topic(topic_delivery(number=1, low=True), 0) == 0
    assert client.frames == []
    assert node.to_topic(topic_delivery(number=2), 0) == 1
    client.lags = False
    assert node.to_topic(topic_delivery(number=3, low=True), 0) == 1
    assert node.registry.get_sample_value("realtime_gateway_shed_total") == 1


def test_who_was_spared_something_is_told_how_much_only_once_it_has_caught_up(node):
    client = node.client("c1", "bob", "chat.general")
    client.lags, client.caught_up = True, False
    for number in (1, 2):
        node.to_topic(topic_delivery(number=number, low=True), 0)
    client.connection.tell_shed()
    assert client.frames == []

    client.caught_up = True
    client.connection.tell_shed()
    assert client.heard[-1]["data"] == {"status": "shed", "details": {"messages": 2}}
    assert client.connection.shed == 0


def test_a_reader_that_is_much_too_slow_is_ended_and_holds_up_nobody(node):
    stuck = node.client("c1", "bob", "chat.general")
    stuck.overdue = True
    other = node.client("c2", "bob", "chat.general")

    assert node.to_topic(topic_delivery(), 0) == 1
    assert [type(error) for error in stuck.ended] == [SlowConsumer]
    assert len(other.frames) == 1


def test_a_repeat_is_written_to_nobody_and_answered_with_the_first_count(node):
    client = node.client("c1", "bob", "chat.general")

    assert node.to_topic(topic_delivery(number=5, message_id="m5"), 0) == 1
    assert node.to_topic(topic_delivery(number=6, message_id="m6"), 0) == 1
    node.client("c2", "eve", "chat.general")
    assert node.to_topic(topic_delivery(number=5, message_id="m5"), 0) == 1
    assert node.to_topic(topic_delivery(number=6, message_id="m6"), 0) == 1
    assert len(client.frames) == 2


def test_numbers_are_a_process_and_partitions_own(node):
    client = node.client("c1", "bob", "chat.general")
    for process, partition in (("p1", 0), ("p1", 1), ("p2", 0)):
        node.to_topic(topic_delivery(process=process, number=7), partition)

    assert len(client.frames) == 3


def test_a_repeat_of_what_was_never_here_counts_nobody(node):
    node.client("c1", "bob", "chat.general")
    node.to_topic(topic_delivery(number=9), 0)

    assert node.to_topic(topic_delivery(number=8, message_id="other"), 0) == 0


def test_what_was_missed_is_written_only_to_who_wanted_it_when_it_was_asked_for(node):
    before = node.client("c1", "bob", "chat.*", since=4.0)
    after = node.client("c2", "bob", "chat.*", since=6.0)

    assert node.to_topic(topic_delivery(number=1, replayed=True), 0, 5.0) == 1
    assert (len(before.frames), len(after.frames)) == (1, 0)
    assert node.to_topic(topic_delivery(number=2), 0, 5.0) == 2


# ---- what is gathered ----------------------------------------------------------------------------


def test_what_comes_together_is_written_to_each_socket_in_one_and_in_order(node):
    many = node.client("c1", "bob", "chat.*", "news")
    few = node.client("c2", "eve", "news")
    for number, topic in enumerate(("chat.a", "news", "chat.b"), 1):
        node.fanout.to_topic(topic_delivery(number=number, topic=topic), 0)
    assert (many.frames, few.frames) == ([], [])

    node.fanout.flush()

    assert [one["data"]["topic"] for one in many.heard] == ["chat.a", "news", "chat.b"]
    assert [one["data"]["topic"] for one in few.heard] == ["news"]
    assert (many.writes, few.writes) == (1, 1)


def test_a_reply_does_not_overtake_what_was_gathered_before_it(node):
    client = node.client("c1", "bob", "news")
    node.fanout.to_topic(topic_delivery(topic="news"), 0)

    client.connection.reply([b'{"type":"Ack"}'])
    node.fanout.flush()

    assert [one["type"] for one in client.heard] == ["Broadcast", "Ack"]


def test_who_takes_it_is_counted_when_it_is_written(node):
    clients = [node.client(f"c{number}", "bob", "news") for number in range(4)]
    told: list[int] = []
    node.fanout.to_topic(topic_delivery(topic="news"), 0, told=told.append)
    assert told == []
    clients[0].gone, clients[1].slow, clients[2].overdue = True, True, True

    node.fanout.flush()

    assert told == [1]


def test_who_is_being_closed_is_written_what_was_gathered_and_then_nothing_more(node):
    client = node.client("c1", "bob", "news")
    node.fanout.to_topic(topic_delivery(number=1, topic="news"), 0)
    client.connection.finish()
    client.connection.reply([b'{"type":"Error"}'])

    assert node.to_topic(topic_delivery(number=2, topic="news"), 0) == 0

    assert [one["type"] for one in client.heard] == ["Broadcast", "Error"]


def test_a_repeat_of_what_was_not_written_yet_is_told_with_its_count(node):
    client = node.client("c1", "bob", "news")
    node.fanout.to_topic(topic_delivery(topic="news"), 0)
    assert client.frames == []

    assert node.to_topic(topic_delivery(topic="news")) == 1
    assert len(client.frames) == 1


def test_a_repeat_is_no_step_of_its_own_for_who_asks_what_became_of_a_message(node):
    node.client("c1", "bob", "chat.general")
    for _ in range(2):
        node.deliver(topic_delivery(number=1, message_id="m1"))

    assert [one.name for one in node.trail.steps("m1")] == ["deliver"]


def test_no_more_is_gathered_than_a_bound(node, monkeypatch):
    monkeypatch.setattr(fanout, "MAX_GATHERED_BYTES", 600)
    client = node.client("c1", "bob", "chat.general")
    for number in range(1, 11):
        node.fanout.to_topic(topic_delivery(number=number), 0)

    assert len(client.frames) >= 8


# ---- presence snapshots --------------------------------------------------------------------------


def snapshot_part(number: int, user_id: str):
    return topic_delivery(
        number=number,
        topic=f"presence.{user_id}",
        form=Form.PRESENCE,
        payload=frames.presence(user_id, "online", 0, b"{}"),
        only_connection="c1",
        report_to="",
    )


def test_a_snapshot_reaches_only_the_connection_that_asked_up_to_its_limit(node):
    asker = node.client("c1", "bob", "presence.*")
    other = node.client("c2", "bob", "presence.*")
    asker.connection.snapshot_left = 2

    for number, user_id in enumerate(("a", "b", "c"), 1):
        node.to_topic(snapshot_part(number, user_id), 0)

    assert [one["data"]["user_id"] for one in asker.heard] == ["a", "b"]
    assert other.frames == []


def test_a_snapshot_for_who_has_unsubscribed_meanwhile_is_not_written(node):
    asker = node.client("c1", "bob")
    asker.connection.expect_snapshot()

    assert node.to_topic(snapshot_part(1, "a"), 0) == 0
    assert asker.frames == []


# ---- compressed ----------------------------------------------------------------------------------

LONG = topic_delivery(payload=json.dumps(["the same again"] * 100).encode())


def test_a_broadcast_is_compressed_once_for_all_who_take_that_and_not_for_others(node, monkeypatch):
    runs = mock.Mock(wraps=zlib.compressobj)
    monkeypatch.setattr(zlib, "compressobj", runs)
    plain = node.client("c", "bob", "chat.general")
    taking = [
        node.client(f"c{one}", "bob", "chat.general", takes_compressed=True) for one in range(100)
    ]

    assert node.to_topic(LONG, 0) == 101
    assert runs.call_count == 1
    assert plain.frames == [text_frame(frames.topic_delivery(LONG))]
    assert {id(one.frames[0]) for one in taking} == {id(taking[0].frames[0])}
    assert inflated(taking[0].frames[0]) == frames.topic_delivery(LONG)


def test_nothing_is_compressed_where_nobody_takes_it(node, monkeypatch):
    monkeypatch.setattr(zlib, "compressobj", mock.Mock(side_effect=AssertionError))
    node.client("c", "bob", "chat.general")

    assert node.to_topic(LONG, 0) == 1


def test_what_was_not_written_for_it_was_compressed_is_not_counted_as_sent(node):
    client = node.client("c", "bob", "chat.general", takes_compressed=True)
    node.to_topic(LONG, 0)

    sent = node.registry.get_sample_value("realtime_gateway_sent_bytes_total")
    assert sent == len(client.frames[0])


def test_what_comes_together_is_joined_once_for_all_who_take_it_compressed(node):
    clients = [
        node.client(name, "bob", "chat.general", takes_compressed=True) for name in ("c1", "c2")
    ]
    for number in (1, 2):
        node.fanout.to_topic(msgspec.structs.replace(LONG, number=number), 0)
    node.fanout.flush()

    assert [one.writes for one in clients] == [1, 1]
    assert [inflated(one) for one in clients[0].frames] == [frames.topic_delivery(LONG)] * 2


def test_replies_are_not_compressed(node):
    client = node.client("c", "bob", takes_compressed=True)
    client.connection.reply([b"x" * 1000])

    assert client.frames == [text_frame(b"x" * 1000)]


def inflated(frame: bytes) -> bytes:
    """Return what a compressed text frame says, as a client reads it (RFC 7692)."""
    assert frame[0] == 0xC1
    start = 4 if frame[1] == 126 else 2
    return zlib.decompress(frame[start:] + b"\x00\x00\xff\xff" + b"\x03\x00", -WINDOW_BITS)

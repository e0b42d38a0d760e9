"""Envelopes there and back: shared/messages/codec.py."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw, Struct

from shared.messages import codec, envelopes
from shared.messages.envelopes import CommandBatch, DeliveryBatch, Numbered
from tests.unit.builders import direct_delivery, life, topic_delivery

ENVELOPES = [
    (codec.ROUTER_COMMAND, envelopes.RouteBroadcast("m", "a", b"1", b'"a":1', "alice")),
    (codec.ROUTER_COMMAND, envelopes.InterestGained(["a", "b.*"])),
    (codec.ROUTER_COMMAND, envelopes.InterestLost(["a"])),
    (codec.ROUTER_COMMAND, envelopes.InterestReport([], first=True, last=True)),
    (codec.PRESENCE_COMMAND, envelopes.RouteDirectMessage("m", "bob", "alice", b"\xff", ttl=1.5)),
    (codec.PRESENCE_COMMAND, envelopes.ConnectionOpened(envelopes.Opened("alice", "c1"))),
    (codec.PRESENCE_COMMAND, envelopes.ConnectionClosed("alice", "c1")),
    (
        codec.PRESENCE_COMMAND,
        envelopes.ConnectionsReport([envelopes.Opened("a", "c")], first=True, last=False),
    ),
    (codec.PRESENCE_COMMAND, envelopes.PresenceSet("alice", "away", None)),
    (codec.PRESENCE_COMMAND, envelopes.PresenceAsked("c1", ["presence.*"])),
    (codec.PRESENCE_COMMAND, envelopes.DirectMessageReturned(direct_delivery())),
    (codec.TOPIC_DELIVERY, topic_delivery()),
    (codec.DIRECT_DELIVERY, direct_delivery(ttl=0.0, queued=True)),
    (codec.NEWS, envelopes.Lease(life("n1"), 1, 2)),
    (codec.NEWS, envelopes.LeaseEnded(life("n1"), clean=True)),
    (codec.NEWS, envelopes.Heartbeat("router", "r1", 1, 2, {0: 1, 15: 7})),
]
ANSWERS = [
    envelopes.Routed("m", "m", ["n1"], complete=False),
    envelopes.Receipt("m", "n1", 3),
    envelopes.Located("m", "m", ["n1", "n2"]),
    envelopes.DirectReceipt("m", "n1", ["c1"]),
    envelopes.Stored("m", "m", queued=True),
]
DECODERS = [
    codec.COMMAND_BATCH,
    codec.DELIVERY_BATCH,
    codec.ROUTER_COMMAND,
    codec.PRESENCE_COMMAND,
    codec.TOPIC_DELIVERY,
    codec.DIRECT_DELIVERY,
    codec.ANSWERS,
    codec.NEWS,
]
PACKED = [codec.encode(envelope) for _, envelope in ENVELOPES]
COMMANDS = codec.encode(
    CommandBatch(life("n1"), "answers", [Numbered(n, Raw(one)) for n, one in enumerate(PACKED, 1)])
)
DELIVERIES = codec.encode(DeliveryBatch(3, 7, [Raw(one) for one in PACKED]))


@pytest.mark.parametrize(("decoder", "envelope"), ENVELOPES, ids=lambda one: type(one).__name__)
def test_every_envelope_comes_back_as_it_was(decoder, envelope):
    assert codec.decode(codec.encode(envelope), decoder) == envelope


def test_answers_come_back_as_they_were():
    assert codec.decode(codec.encode(ANSWERS), codec.ANSWERS) == ANSWERS
    assert codec.join([codec.encode(one) for one in ANSWERS]) == codec.encode(ANSWERS)


def test_no_envelope_is_forgotten_here():
    tagged = {
        kind
        for kind in vars(envelopes).values()
        if isinstance(kind, type) and issubclass(kind, Struct) and kind.__struct_config__.tag
    }

    assert {type(one) for one in [*ANSWERS, *(envelope for _, envelope in ENVELOPES)]} == tagged


def test_a_batch_keeps_its_envelopes_as_bytes():
    commands = codec.decode(COMMANDS, codec.COMMAND_BATCH)
    deliveries = codec.decode(DELIVERIES, codec.DELIVERY_BATCH)

    assert commands.sender == life("n1")
    assert [one.number for one in commands.items] == list(range(1, len(PACKED) + 1))
    assert [bytes(one.envelope) for one in commands.items] == PACKED
    assert (deliveries.partition, deliveries.term) == (3, 7)
    assert [bytes(one) for one in deliveries.items] == PACKED


def is_understood_or_undecodable(body: bytes) -> None:
    for decoder in DECODERS:
        with suppress(codec.Undecodable):
            codec.decode(body, decoder)


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xc1")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\x91" * 100_000)
@example(b"\x93\xa1\xff\xa1a\xa1a")
def test_any_bytes_are_an_envelope_or_undecodable(body):
    is_understood_or_undecodable(body)


@given(st.sampled_from([COMMANDS, DELIVERIES, codec.encode(ANSWERS), *PACKED]), st.data())
def test_a_damaged_message_is_an_envelope_or_undecodable(body, data):
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    is_understood_or_undecodable(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
    is_understood_or_undecodable(bytes(damaged))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("odd", [None, 1, "text", {}, [], [99, "a"], [1], [20, None], [[], [], []]])
def test_a_well_formed_message_of_another_shape_is_undecodable(decoder, odd):
    if decoder is codec.ANSWERS and odd == []:
        return  # no answers at all
    with pytest.raises(codec.Undecodable):
        codec.decode(msgspec.msgpack.encode(odd), decoder)

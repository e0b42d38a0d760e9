"""Envelopes there and back: shared/messages/codec.py."""

from contextlib import suppress
from enum import Enum
from types import ModuleType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Raw, Struct

from shared.messages import answers, codec, deliveries, envelopes, news, records
from shared.messages.deliveries import DeliveryBatch
from shared.messages.envelopes import CommandBatch, Numbered
from shared.messages.records import LogBatch
from tests.unit.builders import direct_delivery, life, topic_delivery

SAID = (envelopes, deliveries, answers, news)
"""The modules with what the services say to each other."""

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
    (codec.PRESENCE_COMMAND, envelopes.DirectMessageUndelivered(direct_delivery())),
    (codec.PRESENCE_COMMAND, envelopes.MailboxAsked("bob", "c1")),
    (codec.PRESENCE_COMMAND, envelopes.Settled("bob", "n1")),
    (codec.ROUTER_COMMAND, envelopes.HistoryAsked("h", "a", 10, after=3)),
    (codec.ROUTER_COMMAND, envelopes.RecoveryAsked("r", "a.*", position=("log", 7))),
    (codec.ROUTER_COMMAND, envelopes.ReplayAsked(7, 9)),
    (codec.ROUTER_COMMAND, envelopes.SubscribersAsked("s", "a")),
    (codec.ROUTER_COMMAND, envelopes.EraseUser("e", "bob")),
    (codec.PRESENCE_COMMAND, envelopes.PeopleAsked("p", ["bob"])),
    (codec.PRESENCE_COMMAND, envelopes.DisconnectUser("d", "bob", 7)),
    (codec.TOPIC_DELIVERY, deliveries.SubscribersWanted("a", "s", "answers")),
    (codec.TOPIC_DELIVERY, topic_delivery(audience=deliveries.Audience(["a"], ["c1"]))),
    (codec.DIRECT_DELIVERY, deliveries.Dismissal("bob", 7, "c1", "d", "answers")),
    (codec.TOPIC_DELIVERY, topic_delivery(serial=3, epoch="log", offset=2, replayed=True)),
    (codec.TOPIC_DELIVERY, deliveries.ReplayEnded(7, lost=2)),
    (codec.DIRECT_DELIVERY, direct_delivery(ttl=0.0, queued=True)),
    (codec.DIRECT_DELIVERY, deliveries.SettleAsked("bob", "n1")),
    (codec.NEWS, news.Lease(life("n1"), 1, 2)),
    (codec.NEWS, news.LeaseEnded(life("n1"), clean=True)),
    (codec.NEWS, news.Heartbeat("router", "r1", 1, 2, {0: 1, 15: 7}, [3], "n1", 9)),
    (codec.NEWS, news.TrailAsked("m", "news.trace")),
    (codec.NEWS, news.Usage(life("n1"), {"alice": 7})),
]
ANSWERS = [
    answers.Subscribers("s", "n1", {"bob": 2}),
    answers.People("p", [answers.Seen("bob", "away", 1, b"{}", {"c1": "n1"})], complete=True),
    answers.Erased("e", 3),
    answers.TrailTold("m", "router", "r1", [answers.StepTold("route", 1, None, {"nodes": 2})]),
    answers.Routed("m", "m", ["n1"], complete=False),
    answers.Receipt("m", "n1", 3),
    answers.Located("m", "m", ["n1", "n2"]),
    answers.DirectReceipt("m", "n1", ["c1"]),
    answers.Stored("m", "m", queued=True),
    answers.HistoryPage("h", "log", 3, complete=True, messages=[topic_delivery()]),
    answers.Recovered("r", recovered=True, serial=3, more=False, messages=[topic_delivery()]),
]
RECORDS = [
    records.ReignBegan("reign"),
    records.CheckpointBegan("checkpoint", "log"),
    records.CheckpointEnded("checkpoint"),
    records.Met(life("n1")),
    records.Parted(life("n1")),
    records.Behind("inbox.n1.b1"),
    records.CaughtUp("inbox.n1.b1"),
    records.Published(1, "p1", 2, "m", "a", "log", 3, 4, b"\xff", b'"a":1', "alice", "c1"),
    records.KeyUsed("alice", "k", "m", "p1", 2, 3),
    records.TopicReached("a", "log", 1, 2, 3),
    records.HistoryReached(1, 2, "log", 3),
    records.NumberReached("p1", 2),
    records.UserErased("bob", 3, 4),
    records.Revoked("bob", 5),
    records.Kept(direct_delivery()),
    records.Drained("bob", ["dm_1"]),
    records.Announced("bob", "away", 1, b"{}", b'{"mood":1}'),
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
    codec.RECORD,
    codec.LOG_BATCH,
    codec.LANDMARK,
]
PACKED = [codec.encode(envelope) for _, envelope in ENVELOPES]
COMMANDS = codec.encode(
    CommandBatch(life("n1"), "answers", [Numbered(n, Raw(one)) for n, one in enumerate(PACKED, 1)])
)
DELIVERIES = codec.encode(DeliveryBatch(3, 7, 2, 5, [Raw(one) for one in PACKED]))
LOGGED = codec.encode(LogBatch(7, [Raw(codec.encode(one)) for one in RECORDS]))


@pytest.mark.parametrize(("decoder", "envelope"), ENVELOPES, ids=lambda one: type(one).__name__)
def test_every_envelope_comes_back_as_it_was(decoder, envelope):
    assert codec.decode(codec.encode(envelope), decoder) == envelope


def test_answers_come_back_as_they_were():
    assert codec.decode(codec.encode(ANSWERS), codec.ANSWERS) == ANSWERS
    assert codec.join([codec.encode(one) for one in ANSWERS]) == codec.encode(ANSWERS)


@pytest.mark.parametrize("record", RECORDS, ids=lambda one: type(one).__name__)
def test_every_record_comes_back_as_it_was(record):
    assert codec.decode(codec.encode(record), codec.RECORD) == record


def test_a_landmark_comes_back_as_it_was():
    landmark = records.Landmark(3, "checkpoint", 7)

    assert codec.decode(codec.encode(landmark), codec.LANDMARK) == landmark


def tagged(module: ModuleType) -> set[type]:
    """Return the envelopes that a module makes."""
    return {
        kind
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, Struct)
        and kind.__struct_config__.tag
        and kind.__module__ == module.__name__
    }


def test_no_envelope_is_forgotten_here():
    known = {type(one) for one in [*ANSWERS, *(envelope for _, envelope in ENVELOPES)]}

    assert known == set().union(*map(tagged, SAID))
    assert {type(one) for one in RECORDS} == tagged(records)


LEAVES = {
    int: st.integers(0, 2**53),
    float: st.floats(allow_nan=False),  # nothing equals it
    str: st.text(max_size=8),
    bytes: st.binary(max_size=8),
    bool: st.booleans(),
    type(None): st.none(),
    Raw: st.integers(0, 9).map(lambda number: Raw(codec.encode(number))),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that the fields of envelopes have."""
    if hint in LEAVES:
        return LEAVES[hint]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if isinstance(hint, type) and issubclass(hint, Struct):
        fields = get_type_hints(hint)
        return st.builds(hint, **{name: values(fields[name]) for name in hint.__struct_fields__})
    inner = [values(one) for one in get_args(hint)]
    match get_origin(hint):
        case origin if origin is list:
            return st.lists(*inner, max_size=3)
        case origin if origin is dict:
            return st.dictionaries(*inner, max_size=3)
        case origin if origin is tuple:
            return st.tuples(*inner)
        case origin if origin in {Union, UnionType}:
            return st.one_of(inner)
    raise AssertionError(hint)


DECODER_OF = {
    **{type(envelope): decoder for decoder, envelope in ENVELOPES},
    **{type(record): codec.RECORD for record in RECORDS},
}


@pytest.mark.parametrize("kind", DECODER_OF, ids=lambda kind: kind.__name__)
@settings(max_examples=30)
@given(data=st.data())
def test_any_envelope_comes_back_as_it_was(kind, data):
    envelope = data.draw(values(kind))

    assert codec.decode(codec.encode(envelope), DECODER_OF[kind]) == envelope


@pytest.mark.parametrize("kind", [type(one) for one in ANSWERS], ids=lambda kind: kind.__name__)
@settings(max_examples=30)
@given(data=st.data())
def test_any_answer_comes_back_as_it_was(kind, data):
    answer = data.draw(values(kind))

    assert codec.decode(codec.encode([answer]), codec.ANSWERS) == [answer]


def test_no_two_envelopes_have_the_same_tag():
    kinds = set().union(*map(tagged, (*SAID, records)))

    assert len({kind.__struct_config__.tag for kind in kinds}) == len(kinds)


def test_a_batch_keeps_its_envelopes_as_bytes():
    commands = codec.decode(COMMANDS, codec.COMMAND_BATCH)
    deliveries = codec.decode(DELIVERIES, codec.DELIVERY_BATCH)

    assert commands.sender == life("n1")
    assert [one.number for one in commands.items] == list(range(1, len(PACKED) + 1))
    assert [bytes(one.envelope) for one in commands.items] == PACKED
    assert (deliveries.partition, deliveries.term) == (3, 7)
    assert (deliveries.sequence, deliveries.serial) == (2, 5)
    assert [bytes(one) for one in deliveries.items] == PACKED
    logged = codec.decode(LOGGED, codec.LOG_BATCH)
    assert logged.term == 7
    assert [codec.decode(bytes(one), codec.RECORD) for one in logged.records] == RECORDS


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


@given(st.sampled_from([COMMANDS, DELIVERIES, LOGGED, codec.encode(ANSWERS), *PACKED]), st.data())
def test_a_damaged_message_is_an_envelope_or_undecodable(body, data):
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    is_understood_or_undecodable(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
    is_understood_or_undecodable(bytes(damaged))


LANDMARKS = [[1], [99, "a"]]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("odd", [None, 1, "text", {}, [], [99, "a"], [1], [20, None], [[], [], []]])
def test_a_well_formed_message_of_another_shape_is_undecodable(decoder, odd):
    if (decoder is codec.ANSWERS and odd == []) or (decoder is codec.LANDMARK and odd in LANDMARKS):
        return  # no answers at all, or a landmark that leaves out what it need not say
    with pytest.raises(codec.Undecodable):
        codec.decode(msgspec.msgpack.encode(odd), decoder)

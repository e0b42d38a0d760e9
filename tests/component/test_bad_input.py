"""What no well-behaved client sends (X2, X7, W9, W11)."""

import json
import tracemalloc
from typing import Any

import pytest
from aiohttp import WSMsgType
from aiohttp.http_websocket import WebSocketWriter

from shared.messages.client import SERVER_ONLY
from tests.support.embedded import Place, Talk

LIMIT = 65_536
MOST_MEMORY = 5_000_000


def nested(depth: int) -> str:
    """Return a Ping whose data is nested so deep that the message has this depth."""
    return '{"type":"Ping","data":{"x":' + "[" * (depth - 2) + "]" * (depth - 2) + "}}"


BAD = {
    "empty": "",
    "no JSON": "hello",
    "half": '{"type":"Ping","data":{}',
    "two": '{"type":"Ping","data":{}}{}',
    "list": "[]",
    "string": '"Ping"',
    "null": "null",
    "number": "1",
    "NaN": '{"type":"Ping","data":{"x":NaN}}',
    "no type": '{"data":{}}',
    "null type": '{"type":null,"data":{}}',
    "number type": '{"type":1,"data":{}}',
    "no data": '{"type":"Ping"}',
    "null data": '{"type":"Ping","data":null}',
    "list data": '{"type":"Ping","data":[]}',
    "string data": '{"type":"Ping","data":"x"}',
    "unknown type": '{"type":"Dance","data":{}}',
    "type in small letters": '{"type":"ping","data":{}}',
    "too deep": nested(33),
    "far too deep": "[" * 30_000,
    "metadata no object": '{"type":"Ping","data":{},"metadata":[]}',
    "ttl no number": '{"type":"Ping","data":{},"metadata":{"ttl":"1"}}',
    "ttl negative": '{"type":"Ping","data":{},"metadata":{"ttl":-1}}',
    "ttl infinite": '{"type":"Ping","data":{},"metadata":{"ttl":1e999}}',
    "unknown priority": '{"type":"Ping","data":{},"metadata":{"priority":"urgent"}}',
    "echo no boolean": '{"type":"Ping","data":{},"metadata":{"echo":"no"}}',
    "key empty": '{"type":"Ping","data":{},"metadata":{"idempotency_key":""}}',
    "timestamp no number": '{"type":"Ping","data":{},"timestamp":"now"}',
    "timestamp infinite": '{"type":"Ping","data":{},"timestamp":1e999}',
    "lone surrogate": '{"type":"Ping","data":{},"id":"\\ud83d"}',
}


async def refused(talk: Talk, text: str) -> dict[str, Any]:
    """Send text that is refused; return the data of the Error."""
    await talk.raw(text)
    error = await talk.hear()
    assert error["type"] == "Error", error
    data: dict[str, Any] = error["data"]
    return data


# ---- the connection stays ------------------------------------------------------------------------


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
async def test_a_bad_message_gets_an_error_and_disturbs_nothing(place: Place, text: str) -> None:
    alice, bob = await place.people("alice", "bob")
    await alice.subscribe("a")
    error = await refused(alice, text)
    assert error["code"] == 400
    assert error["message"]
    assert (await bob.broadcast("a", 1))["recipients"] == 1
    assert [one["type"] for one in await alice.told()] == ["Broadcast"]


@pytest.mark.parametrize("kind", sorted(SERVER_ONLY))
async def test_what_only_the_server_sends_is_forbidden(place: Place, kind: str) -> None:
    alice = await place.connect("alice")
    assert (await refused(alice, json.dumps({"type": kind, "data": {}})))["code"] == 403


async def test_a_depth_of_32_is_fine_and_brackets_in_strings_do_not_count(place: Place) -> None:
    alice = await place.connect("alice")
    await alice.raw(nested(32))
    assert (await alice.hear())["type"] == "Pong"
    await alice.broadcast("a", '["{' * 5000)


async def test_extra_fields_are_ignored(place: Place) -> None:
    alice = await place.connect("alice")
    [pong, ack] = await alice.ask("Ping", {"timestamp": 1, "more": {}}, extra=[1], version=7)
    assert (pong["type"], ack["type"]) == ("Pong", "Ack")


async def test_bytes_that_are_no_binary_message_are_a_bad_request(place: Place) -> None:
    alice = await place.connect("alice")
    for body in (b"", b"\x00", b'{"type":"Ping","data":{}}'):
        await alice.socket.send_bytes(body)
        assert (await alice.hear())["data"]["code"] == 400
    assert not await alice.told()


# ---- ten in a row --------------------------------------------------------------------------------


async def test_ten_bad_messages_in_a_row_end_the_conversation(place: Place) -> None:
    alice = await place.connect("alice")
    for _ in range(10):
        assert (await refused(alice, "bad"))["code"] == 400
    assert await alice.closed() == 4400


async def test_bad_binary_messages_count_as_bad_ones(place: Place) -> None:
    alice = await place.connect("alice")
    for _ in range(5):
        await alice.socket.send_bytes(b"")
        await alice.raw("")
    assert {one["data"]["code"] for one in await alice.hears(10)} == {400}
    assert await alice.closed() == 4400


async def test_a_good_message_starts_the_count_anew(place: Place) -> None:
    alice = await place.connect("alice")
    for _ in range(3):
        for _ in range(9):
            await refused(alice, "bad")
        await alice.ask("Ping", {})
    assert not await alice.told()


# ---- sizes and bytes -----------------------------------------------------------------------------


def sized(size: int, filling: str = "x") -> str:
    """Return a broadcast of this many bytes."""
    empty = json.dumps({"type": "Broadcast", "id": "1", "data": {"topic": "a", "payload": ""}})
    left = size - len(empty)
    return empty[:-3] + filling * (left // len(filling.encode())) + empty[-3:]


@pytest.mark.parametrize("filling", ["x", "€€"], ids=["ASCII", "three bytes each"])
async def test_a_text_message_may_have_65536_bytes(place: Place, filling: str) -> None:
    alice = await place.connect("alice")
    text = sized(LIMIT - 6, filling)
    text += " " * (LIMIT - len(text.encode()))
    await alice.raw(text)
    assert (await alice.hear())["type"] == "Ack"
    await alice.raw(text + " ")
    error = await alice.hear()
    assert (error["type"], error["data"]["code"]) == ("Error", 400)
    assert await alice.closed() == 1009


async def test_a_message_far_too_big_closes_the_connection(place: Place) -> None:
    alice = await place.connect("alice")
    await alice.raw(sized(2_000_000))
    frame = await alice.socket.receive()
    while frame.type is WSMsgType.TEXT:
        frame = await alice.socket.receive()
    assert alice.socket.close_code == 1009


def writer_of(talk: Talk) -> WebSocketWriter:
    """Return what frames a client's messages, for those it would never send."""
    writer = talk.socket._writer
    assert isinstance(writer, WebSocketWriter)
    return writer


def frame(opcode: int, body: bytes, *, final: bool = True) -> bytes:
    """Return a short frame, masked with zeros."""
    assert len(body) < 126
    return bytes((opcode | (0x80 if final else 0), 0x80 | len(body), 0, 0, 0, 0)) + body


async def test_a_message_may_come_in_fragments_of_one_byte(place: Place) -> None:
    alice = await place.connect("alice")
    transport = writer_of(alice).transport
    text = b'{"type":"Ping","data":{"timestamp":1}}'
    transport.write(frame(1, text[:1], final=False))
    for byte in text[1:-1]:
        transport.write(frame(0, bytes((byte,)), final=False))
    transport.write(frame(9, b"between"))
    transport.write(frame(0, text[-1:]))
    assert await alice.hear() == {"type": "Pong", "data": {"timestamp": 1}}


async def test_fragments_count_together_for_the_limit(place: Place) -> None:
    alice = await place.connect("alice")
    transport = writer_of(alice).transport
    transport.write(frame(1, b" " * 125, final=False))
    for _ in range(LIMIT // 125):
        transport.write(frame(0, b" " * 125, final=False))
    transport.write(frame(0, b""))
    assert (await alice.hear())["data"]["code"] == 400
    assert await alice.closed() == 1009


async def test_a_message_in_ten_thousand_pieces_takes_little_memory(place: Place) -> None:
    alice = await place.connect("alice")
    transport = writer_of(alice).transport
    tracemalloc.start()
    try:
        transport.write(frame(1, b" ", final=False))
        transport.write(frame(0, b" ", final=False) * 5_000)
        transport.write(frame(0, b"", final=False) * 5_000)
        transport.write(frame(0, b"now it ends"))
        error = await alice.hear()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error["data"]["code"] == 400
    assert most < MOST_MEMORY


BROKEN = {
    "a bit that no extension has": (bytes((0xC1, 0x80, 0, 0, 0, 0)), 1002),
    "an opcode of nobody": (frame(3, b""), 1002),
    "a ping in pieces": (frame(9, b"", final=False), 1002),
    "a piece of nothing": (frame(0, b"x"), 1002),
    "a message within another": (frame(1, b"x", final=False) + frame(1, b"y"), 1002),
    "a close for a reason of nobody": (frame(8, (1005).to_bytes(2, "big")), 1002),
    "a close with half a reason": (frame(8, b"x"), 1002),
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_what_is_no_frame_closes_the_connection(place: Place, broken: str) -> None:
    alice = await place.connect("alice")
    sent, code = BROKEN[broken]
    writer_of(alice).transport.write(sent)
    assert await alice.closed() == code


async def test_frames_without_a_mask_are_read_although_rfc_6455_would_close(place: Place) -> None:
    """So it is with aiohttp, and docs/security.md tells it; if this fails, it no longer must."""
    alice = await place.connect("alice")
    text = b'{"type":"Ping","data":{"timestamp":1}}'
    writer_of(alice).transport.write(bytes((0x81, len(text))) + text)
    assert await alice.hear() == {"type": "Pong", "data": {"timestamp": 1}}


async def test_invalid_utf8_closes_the_connection(place: Place) -> None:
    alice = await place.connect("alice")
    writer_of(alice).transport.write(frame(1, b'{"type":"\xff\xfe"}'))
    assert await alice.closed() == 1007

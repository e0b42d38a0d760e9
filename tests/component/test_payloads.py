"""What travels with a message, and how (X3, X6)."""

import json

import pytest

from tests.support.embedded import Place


async def test_headers_are_passed_on_and_the_servers_keys_win(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("a")
    headers = {
        "ttl": 3600,
        "priority": "high",
        "encryption": "aes256",
        "compression": "gzip",
        "own": {"deep": [1]},
        "from_user": "mallory",
        "message_id": "forged",
        "sent_at": 1,
        "sent_at_ms": 1,
        "queued": True,
        "replayed": True,
        "offset": 7,
        "epoch": "x",
        "client_timestamp": 1,
        "echo": True,
        "idempotency_key": "secret",
    }
    ack = await alice.broadcast("a", 1, metadata=headers, timestamp=1234.5)
    delivered = (await bob.hear())["data"]["metadata"]
    sent_at_ms = delivered.pop("sent_at_ms")
    assert delivered.pop("epoch") != "x"
    assert delivered == {
        "offset": 1,
        "ttl": 3600,
        "priority": "high",
        "encryption": "aes256",
        "compression": "gzip",
        "own": {"deep": [1]},
        "client_timestamp": 1234.5,
        "from_user": "alice",
        "message_id": ack["server_message_id"],
        "sent_at": sent_at_ms // 1000,
    }


async def test_no_spelling_of_a_key_overrides_the_server(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("a")
    await alice.raw(
        r'{"type":"Broadcast","data":{"topic":"a","payload":1},'
        r'"metadata":{"from\u005fuser":"mallory","from_user":"mallory","x\"y":1}}'
    )
    text = await bob.hear_text()
    assert text.count("from_user") == 1
    assert "mallory" not in text
    assert json.loads(text)["data"]["metadata"]['x"y'] == 1


@pytest.mark.parametrize(
    "payload",
    [
        '{"a":1e999,"b":123456789012345678901234567890}',
        "[1.0,1e2,-0,0.1000]",
        r'"\ud83d\ude00 \u0041 /\/"',
        '{"a":1,"a":2, "from_user" : "mallory"}',
        "null",
        "[[[[[[[[]]]]]]]]",
    ],
)
async def test_a_payload_is_handed_on_as_it_came(place: Place, payload: str) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("a")
    await alice.raw(f'{{"type":"Broadcast","data":{{"topic":"a","payload":{payload}}}}}')
    assert f'"payload":{payload},' in await bob.hear_text()
    await alice.raw(
        f'{{"type":"DirectMessage","data":{{"target_user":"bob","payload":{payload}}}}}'
    )
    assert f'"payload":{payload},' in await bob.hear_text()

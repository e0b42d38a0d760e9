"""Every JSON sample of the protocol reference, on both brokers: sent and answered as printed."""

import hashlib
import json
from typing import Any

from tests.support import reference_samples as samples
from tests.support.embedded import Message, Place, Talk, token

# ---- what is printed -----------------------------------------------------------------------------


class A:
    """Any value of a kind, for what the reference has made up."""

    def __init__(self, kind: type, begins: str = "") -> None:
        self.kind = kind
        self.begins = begins

    def __eq__(self, other: object) -> bool:
        return type(other) is self.kind and str(other).startswith(self.begins)

    __hash__ = None

    def __repr__(self) -> str:
        return f"<a {self.kind.__name__} {self.begins}>"


def printed(sample: str, **known: Any) -> Message:
    """Return a sample, with what the scene knows better, by the name of the field."""

    def better(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: known[name] if name in known else better(value[name]) for name in value}

    message: Message = better(json.loads(sample))
    return message


def shown(found: Any, sample: Any) -> Any:
    """Return what a message has of what the sample shows: more fields are allowed."""
    if not (isinstance(sample, dict) and isinstance(found, dict)):
        return found
    return {
        name: value if name == "payload" else shown(value, sample[name])
        for name, value in found.items()
        if name in sample
    }


async def hears(talk: Talk, sample: str, **known: Any) -> Message:
    """Check that what comes next is as printed; return it."""
    found = await talk.hear()
    expected = printed(sample, **known)
    assert shown(found, expected) == expected
    return found


# ---- what a client sends -------------------------------------------------------------------------


async def test_a_ping_is_answered_as_printed(place: Place) -> None:
    alice = await place.connect("alice")
    await alice.raw(samples.PING)
    await hears(alice, samples.PONG)
    assert not await alice.told()


async def test_subscribing_and_unsubscribing_are_answered_as_printed(place: Place) -> None:
    alice = await place.connect("alice")
    await alice.raw(samples.SUBSCRIBE)
    await hears(alice, samples.SUBSCRIBED)
    await alice.raw(samples.UNSUBSCRIBE)
    await hears(alice, samples.UNSUBSCRIBED)
    assert not await alice.told()


async def test_a_broadcast_is_acknowledged_and_delivered_as_printed(place: Place) -> None:
    sender, *listeners = await place.people("user123", "alice", "bob", "carol")
    for listener in listeners:
        await listener.subscribe("chat.general")
    await sender.raw(samples.BROADCAST)
    ack = await hears(sender, samples.BROADCAST_ACK, recipients=3)
    assert ack["data"]["server_message_id"] == A(str, "broadcast_")
    for listener in listeners:
        await hears(
            listener,
            samples.BROADCAST_DELIVERY,
            sent_at=A(int),
            message_id=ack["data"]["server_message_id"],
        )
    assert not await sender.told()


async def test_a_direct_message_is_acknowledged_and_delivered_as_printed(place: Place) -> None:
    sender, *receivers = await place.people("user123", "user456", "user456")
    await sender.raw(samples.DIRECT_MESSAGE)
    ack = await hears(sender, samples.DIRECT_MESSAGE_ACK, delivered_to=A(list))
    assert set(ack["data"]["delivered_to"]) == {receiver.id for receiver in receivers}
    assert ack["data"]["server_message_id"] == A(str, "dm_")
    for receiver in receivers:
        await hears(
            receiver,
            samples.DIRECT_MESSAGE_DELIVERY,
            sent_at=A(int),
            message_id=ack["data"]["server_message_id"],
        )
    assert not await sender.told()


async def test_a_direct_message_to_an_offline_user_is_answered_as_printed(place: Place) -> None:
    sender = await place.connect("user123")
    await sender.raw(samples.DIRECT_MESSAGE)
    await hears(sender, samples.OFFLINE)
    await hears(sender, samples.DIRECT_MESSAGE_ACK, status="queued", delivered_to=[])
    receiver = await place.connect("user456")
    await hears(receiver, samples.DIRECT_MESSAGE_DELIVERY, sent_at=A(int), message_id=A(str, "dm_"))


async def test_a_binary_message_is_acknowledged_as_printed(place: Place) -> None:
    alice = await place.connect("alice")
    file = bytes(range(256)) * 4
    await alice.socket.send_bytes(b"\x03" + len(file).to_bytes(4, "big") + file)
    checksum = f"sha256:{hashlib.sha256(file).hexdigest()}"
    await hears(alice, samples.BINARY_RECEIVED, checksum=checksum)
    assert not await alice.told()


async def test_a_command_of_an_extension_is_sent_and_answered_as_printed(place: Place) -> None:
    asker, worker = await place.people("alice", "bob")
    await worker.ask("Register", {"types": ["X-CustomAction"]})
    await asker.raw(samples.CUSTOM)
    asked = await hears(worker, samples.CUSTOM)
    await worker.ask("Reply", {"to": asked["id"], "data": asked["data"]})
    await hears(asker, samples.CUSTOM)
    assert not await asker.told()


async def test_the_printed_headers_are_delivered_with_a_broadcast(place: Place) -> None:
    sender, listener = await place.people("user123", "alice")
    await listener.subscribe("chat.general")
    data = json.loads(samples.BROADCAST)["data"]
    await sender.raw(samples.WITH_METADATA.replace("{ ... }", json.dumps(data)))
    heard = await hears(
        listener, samples.BROADCAST_DELIVERY, sent_at=A(int), message_id=A(str, "broadcast_")
    )
    headers = json.loads(samples.WITH_METADATA.replace("{ ... }", "{}"))["metadata"]
    assert shown(heard["data"]["metadata"], headers) == headers


# ---- what the server sends of itself -------------------------------------------------------------


async def test_the_welcome_is_as_printed(place: Place) -> None:
    alice = await place.connect("alice")
    details = {**alice.welcome, "features": alice.welcome["features"][:4]}
    found = {"type": "Status", "data": {"status": "connected", "details": details}}
    expected = printed(samples.WELCOME, connection_id=A(str), server_time=A(int))
    assert shown(found, expected) == expected


async def test_a_notification_is_delivered_as_printed(place: Place) -> None:
    alice = await place.connect("alice")
    said = json.loads(samples.NOTIFICATION)["data"]
    response = await place.client.request(
        "POST",
        "/api/v1/notifications",
        json={"audience": {"to": "all"}, **said},
        headers={"Authorization": f"Bearer {token('ops', roles=['admin'])}"},
    )
    assert response.status == 200
    heard = await hears(alice, samples.NOTIFICATION)
    assert heard["data"]["id"] == A(str, "notification_")


async def test_the_presence_of_a_user_is_told_as_printed(place: Place) -> None:
    watcher = await place.connect("alice")
    await watcher.subscribe("presence.user789")
    await place.connect("user789", presence={"device": "web", "location": "New York"})
    await hears(watcher, samples.PRESENCE, last_seen=A(int))


async def test_an_error_has_the_printed_form(place: Place) -> None:
    alice = await place.connect("alice")
    await alice.raw('{"type": "Broadcast", "data": {}}')
    error = await hears(alice, samples.ERROR, message=A(str), details=A(dict))
    assert error["data"]["details"]["field"] == "data.topic"


async def test_a_token_that_expires_soon_is_told_as_printed(place: Place) -> None:
    alice = await place.connect("alice", lasts=1)
    await hears(alice, samples.TOKEN_EXPIRING, expires_at=alice.welcome["expires_at"])

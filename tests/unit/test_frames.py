"""What clients get, in the shapes of the protocol reference: shared/messages/frames.py."""

import json

import pytest
from msgspec import Raw

from shared.errors import BadRequest, NotFound, ServiceError, Unavailable
from shared.messages import frames
from shared.messages.answers import HistoryPage
from shared.messages.forms import Form
from tests.unit.builders import direct_delivery, topic_delivery


def read(frame: bytes) -> object:
    return json.loads(frame)


def test_status():
    details = {"topics": ["a"], "active_subscriptions": 3}

    assert read(frames.status("subscribed", details)) == {
        "type": "Status",
        "data": {"status": "subscribed", "details": details},
    }


def test_ack():
    assert read(frames.ack("msg_123456", "delivered", recipients=42)) == {
        "type": "Ack",
        "data": {"message_id": "msg_123456", "status": "delivered", "recipients": 42},
        "id": "msg_123456",
    }


def test_error_of_an_offline_user():
    error = NotFound("User user456 not found or not connected", queued=True)

    assert read(frames.error(error, "dm_789012")) == {
        "type": "Error",
        "data": {
            "code": 404,
            "message": "User user456 not found or not connected",
            "details": {"message_id": "dm_789012", "queued": True},
        },
        "id": "dm_789012",
    }


def test_error_without_an_id():
    assert read(frames.error(BadRequest("No", field="additional"))) == {
        "type": "Error",
        "data": {"code": 400, "message": "No", "details": {"field": "additional"}},
    }


def test_an_error_does_not_change_the_fault_it_tells_of():
    fault = BadRequest("No")
    frames.error(fault, "m")

    assert fault.details == {}


def test_an_unavailable_service_says_when_to_come_back():
    assert read(frames.error(Unavailable()))["data"]["details"] == {"retry_after_ms": 1000}


def test_an_unexpected_fault_says_nothing_of_the_inside():
    assert read(frames.error(ServiceError(incident="i")))["data"] == {
        "code": 500,
        "message": "The service met an unexpected fault.",
        "details": {"incident": "i"},
    }


@pytest.mark.parametrize("timestamp", [b"1234567890", b"1e999", b'{"a" : 1}', b"null"])
def test_pong_brings_the_timestamp_back_verbatim(timestamp):
    assert frames.pong(timestamp, None) == (
        b'{"type":"Pong","data":{"timestamp":' + timestamp + b"}}"
    )
    assert frames.pong(timestamp, "m").endswith(b',"id":"m"}')


def test_auth_status():
    assert read(frames.auth_status("token_expiring", 1234567890123)) == {
        "type": "AuthStatus",
        "data": {
            "status": "token_expiring",
            "expires_at": 1234567890,
            "expires_at_ms": 1234567890123,
            "refresh_required": True,
        },
    }
    renewed = read(frames.auth_status("renewed", 1234567890123, "m"))
    assert renewed["id"] == "m"
    assert "refresh_required" not in renewed["data"]


def test_broadcast_delivery():
    delivery = topic_delivery(
        payload=b'{"message":"Hello everyone!"}', message_id="broadcast_123456"
    )

    assert read(frames.topic_delivery(delivery)) == {
        "type": "Broadcast",
        "data": {
            "topic": "chat.general",
            "payload": {"message": "Hello everyone!"},
            "metadata": {
                "sent_at": 1234567890,
                "sent_at_ms": 1234567890123,
                "message_id": "broadcast_123456",
                "from_user": "alice",
            },
        },
    }


def test_direct_message_delivery():
    delivery = direct_delivery(payload=b'{"attachments":[]}', message_id="dm_123456")

    assert read(frames.direct_delivery(delivery)) == {
        "type": "DirectMessage",
        "data": {
            "from_user": "alice",
            "payload": {"attachments": []},
            "metadata": {
                "sent_at": 1234567890,
                "sent_at_ms": 1234567890123,
                "message_id": "dm_123456",
            },
        },
    }


def test_a_direct_message_from_the_mailbox_says_so():
    delivered = read(frames.direct_delivery(direct_delivery(queued=True)))

    assert delivered["data"]["metadata"]["queued"] is True


def test_payload_and_headers_are_handed_on_byte_for_byte_before_the_servers_own():
    odd = b'{"n":123456789012345678901234567890,  "e":1e999}'
    headers = b'"ttl":3600,"x":1e999'

    broadcast = frames.topic_delivery(topic_delivery(payload=odd, metadata=headers))
    direct = frames.direct_delivery(direct_delivery(payload=odd, metadata=headers))

    for frame in (broadcast, direct):
        assert b'"payload":' + odd + b"," in frame
        assert b'"metadata":{"ttl":3600,"x":1e999,"sent_at":' in frame


def test_a_broadcast_that_is_kept_has_its_place_in_the_topic():
    delivered = read(frames.topic_delivery(topic_delivery(serial=9, epoch="e", offset=7)))

    assert delivered["data"]["metadata"] == {
        "sent_at": 1234567890,
        "sent_at_ms": 1234567890123,
        "message_id": "broadcast_1",
        "from_user": "alice",
        "epoch": "e",
        "offset": 7,
    }


def test_a_broadcast_that_is_not_kept_has_no_place():
    delivered = read(frames.topic_delivery(topic_delivery(serial=0, epoch="", offset=0)))

    assert not {"epoch", "offset", "replayed"} & delivered["data"]["metadata"].keys()


def test_what_was_missed_says_so():
    missed = topic_delivery(serial=9, epoch="e", offset=7, replayed=True, metadata=b'"x":1')

    assert read(frames.topic_delivery(missed))["data"]["metadata"] == {
        "x": 1,
        "sent_at": 1234567890,
        "sent_at_ms": 1234567890123,
        "message_id": "broadcast_1",
        "from_user": "alice",
        "epoch": "e",
        "offset": 7,
        "replayed": True,
    }


def test_history_has_each_message_whole_as_it_was_delivered():
    odd = b'{"n":123456789012345678901234567890,  "e":1e999}'
    kept = [
        topic_delivery(message_id=f"broadcast_{n}", serial=n, epoch="e", offset=n, payload=odd)
        for n in (1, 2)
    ]
    page = HistoryPage("ask", "e", 7, complete=False, messages=kept)

    frame = frames.history("chat.general", page, "m")

    first, second = map(frames.topic_delivery, kept)
    assert b'"messages":[' + first + b"," + second + b"]" in frame
    found = read(frame)
    messages = found["data"].pop("messages")
    assert [one["data"]["metadata"]["offset"] for one in messages] == [1, 2]
    assert found == {
        "type": "History",
        "data": {"topic": "chat.general", "epoch": "e", "offset": 7, "complete": False},
        "id": "m",
    }


def test_history_of_a_topic_that_nobody_has_spoken_on_is_empty():
    page = HistoryPage("ask", "e", 0, complete=True, messages=[])

    assert read(frames.history("a", page, None)) == {
        "type": "History",
        "data": {"topic": "a", "epoch": "e", "messages": [], "offset": 0, "complete": True},
    }


def test_presence_update():
    data = frames.presence("user789", "online", 1234567890123, b'{"device":"web"}')

    assert read(frames.topic_delivery(topic_delivery(form=Form.PRESENCE, payload=data))) == {
        "type": "Presence",
        "data": {
            "user_id": "user789",
            "status": "online",
            "last_seen": 1234567890,
            "last_seen_ms": 1234567890123,
            "metadata": {"device": "web"},
        },
    }


def test_a_ping_of_ours_has_what_the_reference_client_answers_with():
    assert read(frames.ping(5)) == {"type": "Ping", "data": {"timestamp": 5}}


def test_an_object_of_raw_values_is_written_as_it_came():
    assert frames.raw_object({"a": Raw(b"1e999"), "b": Raw(b"[ ]")}) == b'{"a":1e999,"b":[ ]}'

"""The binary format: shared/messages/binary.py."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadRequest
from shared.messages import binary, client, frames
from shared.messages.checks import Headers
from shared.messages.forms import Form
from tests.support.binary import TYPES, checksum, headed, plain, unpacked
from tests.unit.builders import direct_delivery, topic_delivery

NOWHERE = client.BinaryRoute()


def command_of(frame: bytes, route: client.BinaryRoute = NOWHERE) -> client.Command:
    command = binary.parse(frame).command(route)
    assert command is not None
    return command


def refusal(frame: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        binary.parse(frame)
    json.loads(frames.error(caught.value))  # it can be written
    return caught.value


# ---- the layout ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_a_message_without_a_header_is_all_body(kind):
    message = binary.parse(plain(kind, b"\x00\x01\xff"))

    assert (message.form.word, message.size, message.body) == (TYPES[kind], 3, b"\x00\x01\xff")
    assert message.header is None
    assert message.command(NOWHERE) is None


def test_the_layout_is_that_of_the_reference_with_a_big_endian_length():
    message = binary.parse(b"\x01\x00\x00\x01\x00" + b"x" * 256)

    assert (message.form, message.size) == (Form.BROADCAST, 256)


@pytest.mark.parametrize("kind", TYPES)
def test_size_and_checksum_are_of_the_payload_the_header_included(kind):
    payload = b'\x00\x0d{"topic":"a"}body' if kind & 0x80 else b"body"
    message = binary.parse(plain(kind, payload))

    assert (message.size, message.body) == (len(payload), b"body")
    assert message.checksum == checksum(payload)


@pytest.mark.parametrize("kind", TYPES)
def test_the_type_says_what_it_is_and_not_where_it_goes(kind):
    to_topic, to_user = client.BinaryRoute(topic="a"), client.BinaryRoute(target_user="bob")
    if kind & 0x80:
        topical = command_of(headed({"topic": "a"}, b"x", kind), to_user).body
        personal = command_of(headed({"target_user": "bob"}, b"x", kind), to_topic).body
    else:
        topical = command_of(plain(kind, b"x"), to_topic).body
        personal = command_of(plain(kind, b"x"), to_user).body

    assert topical == client.Broadcast("a", msgspec.Raw(b"x"))
    assert personal == client.DirectMessage("bob", msgspec.Raw(b"x"))


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        (b"", "message"),
        (b"\x01\x00\x00\x00", "message"),
        (plain(0x00, b""), "type"),
        (plain(0x05, b""), "type"),
        (plain(0x80, b""), "type"),
        (plain(0x85, b""), "type"),
        (plain(0xFF, b""), "type"),
        (plain(0x01, b"xx")[:-1], "length"),
        (plain(0x01, b"xx") + b"x", "length"),
        (b"\x01\x02\x00\x00\x00xx", "length"),  # little-endian
        (plain(0x81, b""), "header_length"),
        (plain(0x81, b"\x00"), "header_length"),
        (plain(0x81, b"\x00\x0e" + b'{"topic":"a"}'), "header_length"),
        (headed(b" " * 32_769), "header_length"),
        (headed(b""), "header"),
        (headed(b"{"), "header"),
        (headed(b"[]"), "header"),
        (headed(b'"a"'), "header"),
        (headed(b"\xff"), "header"),
        (headed(b"[" * 33), "header"),
        (headed(b'{"topic":"a","metadata":' + b"[" * 32 + b"]" * 32 + b"}"), "header"),
    ],
)
def test_what_breaks_the_layout_is_refused_and_the_error_says_where(frame, field):
    assert refusal(frame).details["field"] == field


def test_an_unknown_type_is_told_which_there_are():
    assert refusal(plain(0x05, b"")).details["known"] == [f"0x{kind:02x}" for kind in TYPES]


# ---- the header ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ({}, "header"),
        ({"topic": None, "target_user": None}, "header"),
        ({"topic": "a", "target_user": "bob"}, "header"),
        ({"topic": 1}, "header.topic"),
        ({"topic": ""}, "header.topic"),
        ({"topic": "a.*"}, "header.topic"),
        ({"topic": "a b"}, "header.topic"),
        ({"target_user": 1}, "header.target_user"),
        ({"target_user": ""}, "header.target_user"),
        ({"target_user": "x" * 129}, "header.target_user"),
        ({"target_user": "x\n"}, "header.target_user"),
        ({"topic": "a", "id": ""}, "header.id"),
        ({"topic": "a", "id": 7}, "header.id"),
        ({"topic": "a", "id": "x\n"}, "header.id"),
        ({"topic": "a", "name": 1}, "header.name"),
        ({"topic": "a", "content_type": []}, "header.content_type"),
        ({"topic": "a", "transfer_id": 1}, "header.transfer_id"),
        ({"topic": "a", "seq": -1}, "header.seq"),
        ({"topic": "a", "seq": 1.5}, "header.seq"),
        ({"topic": "a", "seq": 2**53 + 1}, "header.seq"),
        ({"topic": "a", "final": 1}, "header.final"),
        ({"topic": "a", "timestamp": "now"}, "header.timestamp"),
        ({"topic": "a", "metadata": []}, "header.metadata"),
        ({"topic": "a", "metadata": {"ttl": -1}}, "header.metadata.ttl"),
        ({"topic": "a", "metadata": {"priority": "urgent"}}, "header.metadata.priority"),
        ({"topic": "a", "metadata": {"idempotency_key": "\n"}}, "header.metadata.idempotency_key"),
    ],
    ids=str,
)
def test_a_bad_header_is_refused_and_the_error_names_the_field(header, field):
    error = refusal(headed(header))

    assert error.details["field"] == field
    assert error.details["reason"]


def test_an_error_carries_the_id_if_that_could_be_read():
    assert refusal(headed({"id": "m", "topic": "a.*"})).details["message_id"] == "m"
    assert "message_id" not in refusal(headed({"id": 7, "topic": "a.*"})).details


def test_headers_are_read_as_those_of_json_messages():
    metadata = {"ttl": 5, "priority": "low", "echo": False, "idempotency_key": "k", "mood": "good"}
    header = {"topic": "a", "id": "m", "timestamp": 1.5, "metadata": metadata, "from_user": "x"}
    command = command_of(headed(header))
    text = {"type": "Broadcast", "data": {"topic": "a", "payload": 1}, "id": "m"}
    twin = client.parse(json.dumps({**text, "timestamp": 1.5, "metadata": metadata}))

    assert (command.id, command.headers) == ("m", twin.headers)
    assert command.headers == Headers(5, "low", False, "k")
    assert command.metadata == b'"metadata":{' + twin.metadata + b"}"


def test_what_the_header_says_of_the_body_is_delivered_and_unknown_fields_are_not():
    said = {"name": "é.txt", "content_type": "text/plain", "transfer_id": "t", "seq": 0}
    header = {"topic": "a", "id": "m", **said, "final": False, "sent_at": 1, "owner": "mallory"}

    delivered = json.loads(b"{" + command_of(headed(header)).metadata + b"}")

    assert delivered == {**said, "final": False}


# ---- what is delivered ---------------------------------------------------------------------------


def test_a_broadcast_is_delivered_with_the_clients_members_and_the_servers():
    delivery = topic_delivery(
        form=Form.STREAM_DATA,
        payload=b"\x00\xff",
        metadata=b'"seq":1,"metadata":{"mood":"good"}',
        epoch="e",
        offset=7,
        replayed=True,
    )

    assert unpacked(binary.topic_delivery(delivery)) == (
        0x84,
        {
            "topic": "chat.general",
            "seq": 1,
            "metadata": {"mood": "good"},
            "sent_at": 1234567890,
            "sent_at_ms": 1234567890123,
            "message_id": "broadcast_1",
            "from_user": "alice",
            "epoch": "e",
            "offset": 7,
            "replayed": True,
        },
        b"\x00\xff",
    )


def test_a_direct_message_is_delivered_with_the_clients_members_and_the_servers():
    delivery = direct_delivery(
        form=Form.FILE_TRANSFER, payload=b"x", metadata=b'"final":true', queued=True
    )

    assert unpacked(binary.direct_delivery(delivery)) == (
        0x83,
        {
            "target_user": "bob",
            "from_user": "alice",
            "final": True,
            "sent_at": 1234567890,
            "sent_at_ms": 1234567890123,
            "message_id": "dm_1",
            "queued": True,
        },
        b"x",
    )


def test_in_a_page_of_history_the_body_is_base64():
    delivery = topic_delivery(form=Form.BROADCAST, payload=b"\x00\xff", metadata=b'"seq":1')
    page = json.loads(frames.topic_delivery(delivery))

    assert page["type"] == "Binary"
    assert page["data"]["type"] == "broadcast"
    assert (page["data"]["header"]["seq"], page["data"]["body"]) == (1, "AP8=")


def test_the_longest_header_still_fits_when_the_server_has_added_its_own():
    topic = ".".join(["y" * 63] * 4)
    frame = b'{"topic":"%s","name":"%s"}'
    name = "x" * (binary.MAX_HEADER_BYTES - len(frame % (topic.encode(), b"")))
    command = command_of(headed(frame % (topic.encode(), name.encode())))

    delivery = topic_delivery(
        form=Form.BROADCAST,
        topic=topic,
        metadata=command.metadata,
        from_user="\U0001f600" * 128,
        epoch="e" * 64,
        offset=2**53,
        replayed=True,
    )

    assert unpacked(binary.topic_delivery(delivery)).header["name"] == name


# ---- anything at all -----------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.text(st.sampled_from("abcXYZ09_-:@%"), min_size=1, max_size=8)
ROUTES = st.one_of(
    st.builds(lambda words: {"topic": ".".join(words)}, st.lists(NAMES, min_size=1, max_size=4)),
    st.builds(lambda user: {"target_user": user}, st.sampled_from(["bob", "é b", "\U0001f600"])),
)
ABOUT = st.fixed_dictionaries(
    {},
    optional={
        "name": TEXT,
        "content_type": TEXT,
        "transfer_id": TEXT,
        "seq": st.integers(0, 2**53),
        "final": st.booleans(),
        "metadata": st.dictionaries(TEXT.filter(str.isupper), TEXT | st.integers(), min_size=1),
    },
)


@given(st.sampled_from([form for form in Form if form.is_binary]), ROUTES, ABOUT, st.binary())
def test_what_is_sent_is_what_is_delivered(form, route, about, body):
    sent = binary.parse(binary.pack(form, json.dumps({**route, **about}).encode(), body))
    command = sent.command(NOWHERE)

    given = {"payload": sent.body, "metadata": command.metadata, "form": sent.form, **route}
    if "topic" in route:
        delivered = binary.topic_delivery(topic_delivery(**given))
    else:
        delivered = binary.direct_delivery(direct_delivery(**given))
    kind, header, arrived = unpacked(delivered)
    again = binary.parse(delivered)

    assert (kind, arrived) == (form, body)
    assert header.items() >= {**route, **about}.items()
    assert (again.form, again.body) == (form, body)
    assert again.command(NOWHERE) == command


@given(st.sampled_from(sorted(TYPES)), ROUTES, ABOUT, st.binary(max_size=20), st.data())
def test_every_truncation_is_a_bad_request(kind, route, about, body, data):
    frame = headed({**route, **about}, body, kind)
    length = data.draw(st.integers(0, len(frame) - 1))

    refusal(frame[:length])


@given(
    st.binary(max_size=40)
    | st.builds(plain, st.sampled_from(sorted(TYPES)), st.binary(max_size=40))
    | st.builds(headed, st.binary(max_size=40), st.binary(max_size=4))
)
def test_any_bytes_become_a_message_or_a_bad_request(frame):
    try:
        message = binary.parse(frame)
    except BadRequest as error:
        json.loads(frames.error(error))
    else:
        assert message.size == len(frame) - 5

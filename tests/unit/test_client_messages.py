"""What clients may send: shared/messages/client.py."""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import BadRequest, Forbidden, ServiceError
from shared.messages import checks, client, frames
from shared.messages.checks import Headers
from shared.messages.client import Command, parse
from tests.unit.builders import topic_delivery

PING = '{"type":"Ping","data":{}'


def broadcast(**head: str) -> str:
    """A broadcast; ``head`` are further top-level members, as JSON."""
    members = "".join(f',"{name}":{value}' for name, value in head.items())
    return f'{{"type":"Broadcast","data":{{"topic":"a","payload":1}}{members}}}'


def refusal(text: str) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse(text)
    return caught.value


# ---- what is understood --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("Ping", {"timestamp": 1234567890}),
        ("Ping", {}),
        ("Pong", {"timestamp": 1}),
        ("Subscribe", {"topics": ["notifications", "chat.general", "updates.*"]}),
        ("Unsubscribe", {"topics": ["chat.general"]}),
        ("Broadcast", {"topic": "chat.general", "payload": {"message": "Hello everyone!"}}),
        ("DirectMessage", {"target_user": "user456", "payload": None}),
        ("Presence", {"status": "away", "metadata": {"device": "web"}}),
        ("Presence", {"status": "online"}),
        ("Authenticate", {"token": "e30.e30.e30"}),
        ("Subscribe", {"topics": ["a"], "recover": {"a": {"since": 1234567890123}}}),
        ("History", {"topic": "chat.general"}),
        ("History", {"topic": "a", "limit": 1000, "before": 5, "after": 0, "reverse": True}),
        ("Ack", {"message_ids": ["dm_1", "dm_2"]}),
    ],
)
def test_each_documented_message_is_understood_and_extra_fields_are_ignored(kind, data):
    message = {"type": kind, "data": {**data, "extra": 1}, "id": "m", "more": [], "timestamp": 1.5}

    command = parse(json.dumps(message))

    assert type(command.body) is client.BODIES[kind]
    assert command.id == "m"


@pytest.mark.parametrize(
    ("written", "read"),
    [('"m"', "m"), ("null", None), (f'"{"x" * 128}"', "x" * 128), (r'"\u00e9 x"', "é x")],
)
def test_an_id_is_a_short_printable_string_and_null_is_none(written, read):
    assert parse(broadcast(id=written)).id == read
    assert parse(broadcast()).id is None


@pytest.mark.parametrize(
    "payload",
    [
        "123456789012345678901234567890",
        "1e999",
        "-0.0",
        '{"b": 1,  "a":[ ]}',
        r'"\u0041\/"',
        "null",
        '{"a":1,"a":2}',
    ],
)
def test_a_payload_is_handed_on_byte_for_byte(payload):
    command = parse(f'{{"type":"Broadcast","data":{{"topic":"a","payload":{payload}}}}}')
    ping = parse(f'{{"type":"Ping","data":{{"timestamp":{payload}}}}}')

    assert bytes(command.body.payload) == payload.encode()
    assert bytes(ping.body.timestamp) == payload.encode()


def spread(opens: str, closes: str, name: str) -> Callable[[str, list[str]], str]:
    """Return what writes an array or object with a blank wherever one may stand."""
    return lambda blank, inner: (
        opens + ",".join(f"{blank}{name}{blank}{one}{blank}" for one in inner) + closes
    )


BLANK = st.text(" \t\r\n", max_size=2)
ODD_JSON = st.recursive(
    st.sampled_from(["1e999", "-0.0", "1" * 40, "null", r'"\u0041\/"', r'"\ud83d\ude00"'])
    | st.text(max_size=5).map(json.dumps)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr),
    lambda inner: (
        st.builds(spread("[", "]", ""), BLANK, st.lists(inner))
        | st.builds(spread("{", "}", '"a":'), BLANK, st.lists(inner))
    ),
    max_leaves=10,
)
"""JSON as no encoder writes it: repeated names, blanks, numbers that no double holds."""


@given(ODD_JSON)
def test_any_payload_reaches_receivers_byte_for_byte(payload):
    command = parse(f'{{"type":"Broadcast","data":{{"topic":"a","payload":{payload}}}}}')

    assert bytes(command.body.payload) == payload.encode()
    frame = frames.topic_delivery(topic_delivery(payload=bytes(command.body.payload)))
    assert b'"payload":' + payload.encode() + b',"metadata"' in frame


def test_a_page_of_history_has_fifty_messages_unless_it_is_asked_for_otherwise():
    history = parse('{"type":"History","data":{"topic":"a"}}').body

    assert history == client.History("a", limit=50, before=None, after=None, reverse=False)


def test_what_was_seen_last_is_named_by_its_time_or_by_its_place():
    data = {"a.*": {"since": 5}, "a.b": {"offset": 0, "epoch": "e"}}
    message = {"type": "Subscribe", "data": {"topics": ["a.*", "a.b", "c"], "recover": data}}

    assert parse(json.dumps(message)).body.recover == {
        "a.*": client.RecoverFrom(since=5),
        "a.b": client.RecoverFrom(offset=0, epoch="e"),
    }


def test_without_recover_nothing_was_missed():
    assert parse('{"type":"Subscribe","data":{"topics":["a"]}}').body.recover == {}


def test_an_ack_names_up_to_256_messages():
    ids = [f"dm_{n}" for n in range(256)]

    assert parse(json.dumps({"type": "Ack", "data": {"message_ids": ids}})).body.message_ids == ids


def test_the_server_reads_its_headers_and_delivers_the_others_untouched():
    metadata = (
        '{"priority":"high","ttl":3600,"encryption":"aes256","compression":"gzip",'
        '"echo":false,"idempotency_key":"k","big":1e999,"x\\"y":[1 ,2]}'
    )

    command = parse(broadcast(metadata=metadata))

    assert command.headers == Headers(ttl=3600, priority="high", echo=False, idempotency_key="k")
    assert command.metadata == (
        b'"priority":"high","ttl":3600,"encryption":"aes256","compression":"gzip",'
        b'"big":1e999,"x\\"y":[1 ,2]'
    )


SERVERS_OWN = [
    "client_timestamp",
    "epoch",
    "from_user",
    "idempotency_key",
    "message_id",
    "offset",
    "queued",
    "replayed",
    "sent_at",
    "sent_at_ms",
]


@pytest.mark.parametrize("name", SERVERS_OWN)
def test_no_client_writes_what_only_the_server_writes(name):
    command = parse(broadcast(metadata=f'{{"{name}":"forged","mine":1}}'))

    assert command.metadata == b'"mine":1'


@pytest.mark.parametrize(("timestamp"), ["1234567890", "1.5", "-1"])
def test_a_timestamp_is_delivered_as_the_clients(timestamp):
    command = parse(broadcast(timestamp=timestamp, metadata='{"a":1}'))

    assert command.metadata == f'"a":1,"client_timestamp":{timestamp}'.encode()


@pytest.mark.parametrize("absent", [{}, {"metadata": "null"}, {"timestamp": "null"}])
def test_without_headers_the_defaults_hold(absent):
    assert parse(broadcast(**absent)) == Command(
        parse(broadcast()).body, None, Headers(None, "normal", True, None), b""
    )


# ---- what is refused -----------------------------------------------------------------------------

BAD_HEADS = [
    ("", "message"),
    ("not json", "message"),
    ("[]", "message"),
    ('"text"', "message"),
    ("1", "message"),
    ("null", "message"),
    ('{"type":"Ping","data":{}}}', "message"),
    ('{"type":"Ping","data":{}', "message"),
    ('{"type":"Ping","data":{"a":\udc00}}', "message"),
    ("{}", "type"),
    ('{"data":{}}', "type"),
    ('{"type":1,"data":{}}', "type"),
    ('{"type":null,"data":{}}', "type"),
    (f'{PING},"id":1}}', "id"),
    (f'{PING},"id":""}}', "id"),
    (f'{PING},"id":"{"x" * 129}"}}', "id"),
    (f'{PING},"id":"a\\nb"}}', "id"),
    (f'{PING},"id":["a"]}}', "id"),
    (f'{PING},"id":true}}', "id"),
]
TOO_MANY = json.dumps(["dm"] * 257)
BAD_BODIES = [
    ('"type":"Dance","data":{}', "type"),
    ('"type":"ping","data":{}', "type"),
    ('"type":"Ping"', "data"),
    ('"type":"Ping","data":null', "data"),
    ('"type":"Ping","data":[]', "data"),
    ('"type":"Ping","data":"text"', "data"),
    ('"type":"Subscribe","data":{}', "data.topics"),
    ('"type":"Subscribe","data":{"topics":"a"}', "data.topics"),
    ('"type":"Subscribe","data":{"topics":[]}', "data.topics"),
    ('"type":"Subscribe","data":{"topics":["a",1]}', "data.topics[1]"),
    ('"type":"Unsubscribe","data":{"topics":null}', "data.topics"),
    ('"type":"Broadcast","data":{"payload":1}', "data.topic"),
    ('"type":"Broadcast","data":{"topic":"a"}', "data.payload"),
    ('"type":"Broadcast","data":{"topic":1,"payload":1}', "data.topic"),
    ('"type":"DirectMessage","data":{"target_user":"","payload":1}', "data.target_user"),
    ('"type":"DirectMessage","data":{"target_user":"a\\u0000","payload":1}', "data.target_user"),
    (
        f'"type":"DirectMessage","data":{{"target_user":"{"x" * 129}","payload":1}}',
        "data.target_user",
    ),
    ('"type":"Presence","data":{"status":"offline"}', "data.status"),
    ('"type":"Presence","data":{"status":"away","metadata":[]}', "data.metadata"),
    ('"type":"Authenticate","data":{"token":null}', "data.token"),
    ('"type":"Subscribe","data":{"topics":["a"],"recover":[]}', "data.recover"),
    ('"type":"Subscribe","data":{"topics":["a"],"recover":null}', "data.recover"),
    ('"type":"Subscribe","data":{"topics":["a"],"recover":{"a":5}}', "data.recover[...]"),
    ('"type":"Subscribe","data":{"topics":["a"],"recover":{"a":null}}', "data.recover[...]"),
    ('"type":"Subscribe","data":{"topics":["a"],"recover":{"a":{"x":1}}}', "data.recover[...].x"),
    (
        '"type":"Subscribe","data":{"topics":["a"],"recover":{"a":{"since":-1}}}',
        "data.recover[...].since",
    ),
    (
        '"type":"Subscribe","data":{"topics":["a"],"recover":{"a":{"since":1.5}}}',
        "data.recover[...].since",
    ),
    (
        '"type":"Subscribe","data":{"topics":["a"],"recover":{"a":{"offset":"1","epoch":"e"}}}',
        "data.recover[...].offset",
    ),
    (
        '"type":"Subscribe","data":{"topics":["a"],"recover":{"a":{"offset":1,"epoch":7}}}',
        "data.recover[...].epoch",
    ),
    ('"type":"History","data":{}', "data.topic"),
    ('"type":"History","data":{"topic":["a"]}', "data.topic"),
    ('"type":"History","data":{"topic":"a","limit":0}', "data.limit"),
    ('"type":"History","data":{"topic":"a","limit":1001}', "data.limit"),
    ('"type":"History","data":{"topic":"a","limit":null}', "data.limit"),
    ('"type":"History","data":{"topic":"a","limit":"5"}', "data.limit"),
    ('"type":"History","data":{"topic":"a","before":-1}', "data.before"),
    ('"type":"History","data":{"topic":"a","after":-1}', "data.after"),
    ('"type":"History","data":{"topic":"a","after":1.5}', "data.after"),
    ('"type":"History","data":{"topic":"a","reverse":1}', "data.reverse"),
    ('"type":"Ack","data":{}', "data.message_ids"),
    ('"type":"Ack","data":{"message_ids":"dm_1"}', "data.message_ids"),
    ('"type":"Ack","data":{"message_ids":[]}', "data.message_ids"),
    ('"type":"Ack","data":{"message_ids":["dm_1",""]}', "data.message_ids[1]"),
    ('"type":"Ack","data":{"message_ids":["dm_1",1]}', "data.message_ids[1]"),
    (
        f'"type":"Ack","data":{{"message_ids":["{"x" * 129}"]}}',
        "data.message_ids[0]",
    ),
    (
        f'"type":"Ack","data":{{"message_ids":{TOO_MANY}}}',
        "data.message_ids",
    ),
    ('"type":"Ping","data":{},"metadata":[]', "metadata"),
    ('"type":"Ping","data":{},"metadata":{"ttl":-1}', "metadata.ttl"),
    ('"type":"Ping","data":{},"metadata":{"ttl":1e999}', "metadata.ttl"),
    ('"type":"Ping","data":{},"metadata":{"ttl":"1"}', "metadata.ttl"),
    ('"type":"Ping","data":{},"metadata":{"priority":"urgent"}', "metadata.priority"),
    ('"type":"Ping","data":{},"metadata":{"echo":0}', "metadata.echo"),
    ('"type":"Ping","data":{},"metadata":{"idempotency_key":""}', "metadata.idempotency_key"),
    ('"type":"Ping","data":{},"metadata":{"idempotency_key":"a\\tb"}', "metadata.idempotency_key"),
    ('"type":"Ping","data":{},"timestamp":"1"', "timestamp"),
    ('"type":"Ping","data":{},"timestamp":true', "timestamp"),
    ('"type":"Ping","data":{},"timestamp":1e999', "timestamp"),
]


@pytest.mark.parametrize(("text", "field"), BAD_HEADS)
def test_what_is_no_message_is_refused_by_field_and_reason(text, field):
    details = refusal(text).details

    assert details["field"] == field
    assert details["reason"]
    assert "message_id" not in details


@pytest.mark.parametrize(("members", "field"), BAD_BODIES)
def test_a_bad_message_is_refused_by_field_and_reason_under_its_id(members, field):
    details = refusal(f'{{"id":"m",{members}}}').details

    assert details["field"] == field
    assert details["reason"]
    assert details["message_id"] == "m"


@pytest.mark.parametrize("kind", ["AuthStatus", "Error", "Notification", "Status"])
def test_a_client_may_not_speak_as_the_server(kind):
    with pytest.raises(Forbidden) as caught:
        parse(f'{{"type":"{kind}","data":{{}},"id":"m"}}')
    assert caught.value.details["field"] == "type"
    assert caught.value.details["message_id"] == "m"


# ---- nesting -------------------------------------------------------------------------------------


def nested(depth: int, opens: str = "[", closes: str = "]") -> str:
    """A broadcast that is nested so deep in all; two levels are the message's own."""
    inner = opens * (depth - 2) + closes * (depth - 2)
    return f'{{"type":"Broadcast","data":{{"topic":"a","payload":{inner or 1}}}}}'


def test_32_levels_are_allowed_and_33_are_not():
    assert parse(nested(32))
    details = refusal(nested(33)).details
    assert details["limit"] == 32
    assert details["field"] == "message"
    assert details["reason"]


def test_as_many_brackets_as_a_message_may_hold_are_refused_like_33():
    assert refusal(nested(32_000)).details["limit"] == 32


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps("[{" * 100),
        json.dumps('\\"[' * 100),
        json.dumps({"[" * 50: "{" * 50}),
        "[" + ",".join(["[]"] * 100) + "]",
    ],
)
def test_brackets_in_strings_and_side_by_side_do_not_count(payload):
    command = parse(f'{{"type":"Broadcast","data":{{"topic":"a","payload":{payload}}}}}')

    assert bytes(command.body.payload) == payload.encode()


def depth_of(value: object) -> int:
    inner = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    )
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('[]{}"\\a', max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('[]{}"\\a', max_size=3), inner),
    max_leaves=60,
)


@given(JSON)
def test_nesting_is_counted_as_a_parser_would(value):
    counted = checks.nesting(json.dumps(value).encode())

    assert counted == depth_of(value) or depth_of(value) <= counted <= checks.MAX_DEPTH


# ---- anything at all -----------------------------------------------------------------------------

MEMBERS = ('"type":"Broadcast"', '"data":{', '"id":"m"', '"metadata":{', '"topic":"a"')
SCRAPS = st.lists(
    st.sampled_from(
        ["{", "}", "[", "]", '"', ",", ":", "\\", "\\ud800", "1e999", "null", "\udc80", *MEMBERS]
    ),
    max_size=30,
).map("".join)
MEMBER = JSON | st.sampled_from([*client.BODIES, *client.SERVER_ONLY, "m", 1e300, 10**40])
MESSAGES = st.fixed_dictionaries(
    {
        "type": MEMBER,
        "data": st.dictionaries(st.sampled_from(["topic", "topics", "payload"]), MEMBER) | MEMBER,
    },
    optional={
        "id": MEMBER,
        "timestamp": MEMBER,
        "metadata": st.dictionaries(st.sampled_from(["ttl", "echo", "priority"]), MEMBER),
    },
).map(json.dumps)


@given(st.text(st.characters()) | SCRAPS | MESSAGES)
@example('{"type":"\\ud800","data":{}}')
@example('{"type":"Ping","data":{"timestamp":"\\ud800"},"id":"\\ud800"}')
@example("\ud800")
def test_any_text_becomes_a_command_or_an_error_400_or_403(text):
    fault = None
    try:
        assert isinstance(parse(text), Command)
    except ServiceError as error:
        fault = error
    if fault is not None:
        assert fault.reply_code in {400, 403}
        json.loads(frames.error(fault))  # it can be written


@pytest.mark.parametrize("number", ["9007199254740993", "1" + "0" * 400, "1e999"])
@pytest.mark.parametrize(
    "members",
    [
        '"type":"Ping","data":{{}},"timestamp":{}',
        '"type":"Ping","data":{{}},"metadata":{{"ttl":{}}}',
        '"type":"History","data":{{"topic":"a","before":{}}}',
        '"type":"History","data":{{"topic":"a","after":{}}}',
        '"type":"Subscribe","data":{{"topics":["a"],"recover":{{"a":{{"since":{}}}}}}}',
        '"type":"Subscribe","data":{{"topics":["a"],"recover":{{"a":{{"epoch":"e","offset":{}}}}}}}',
    ],
)
def test_a_number_that_no_double_holds_is_refused_where_the_server_reads_it(members, number):
    details = refusal("{" + members.format(number) + "}").details

    assert {"field", "reason"} <= details.keys()


def test_what_it_costs_to_look_at_a_hostile_frame_grows_no_faster_than_the_frame():
    """An open string of escaped quotes: a scan that starts again at each would take for ever."""

    def cost(size: int) -> float:
        frame = b"[" * 33 + b'"' + rb"\"" * (size // 2)
        began = time.process_time()
        for _ in range(20):
            checks.nesting(frame)
        return time.process_time() - began

    cost(1024)
    assert cost(65_536) < 16 * 8 * max(cost(4096), 0.0005)

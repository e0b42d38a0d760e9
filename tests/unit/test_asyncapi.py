"""The protocol as a document: standalone/asyncapi.py."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from jsonschema import Draft7Validator

from shared import errors
from shared.messages import client, frames, server
from shared.messages.answers import HistoryPage
from shared.messages.extensions import ExtensionCommand
from shared.messages.forms import Form
from standalone.asyncapi import document
from standalone.command_line import commands
from tests.support.schemas import misfits
from tests.unit.builders import direct_delivery, topic_delivery

DOCS = Path(__file__).parents[2] / "docs"


def read(frame: bytes) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(frame)
    return message


def test_the_document_that_is_checked_in_is_what_the_code_says():
    printed = CliRunner().invoke(commands, ["asyncapi"]).output

    assert (DOCS / "asyncapi.json").read_text() == printed, (
        "say: .venv/bin/realtime asyncapi > docs/asyncapi.json"
    )


# ---- its form ------------------------------------------------------------------------------------


def references(value: Any) -> Iterator[str]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if key == "$ref":
            yield inner
        elif isinstance(inner, dict | list):
            yield from references(inner)


def test_every_reference_leads_somewhere():
    found = document()
    for reference in references(found):
        place = found
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_every_schema_is_a_json_schema():
    components = document()["components"]
    payloads = [message["payload"] for message in components["messages"].values()]
    for schema in (*payloads, *components["schemas"].values()):
        Draft7Validator.check_schema(schema)


# ---- what it tells -------------------------------------------------------------------------------


def test_each_type_that_clients_send_is_received_and_may_be_answered_by_an_ack_or_an_error():
    operations = document()["operations"]

    for name in client.BODIES:
        *_, ack, error = operations[f"receive{name}"]["reply"]["messages"]
        assert ack["$ref"].endswith("/server.Ack")
        assert error["$ref"].endswith("/server.Error")


def test_each_type_that_the_server_sends_is_sent_or_a_reply():
    operations = document()["operations"]
    sent = set(references([operations]))

    assert {f"#/channels/ws/messages/server.{name}" for name in server.BODIES} <= sent
    assert "sendBroadcast" in operations
    assert "sendPong" not in operations


def test_all_types_of_extensions_are_one_that_has_a_result_and_may_come_to_be_carried_out():
    operations = document()["operations"]

    result, _, _ = operations["receiveX-"]["reply"]["messages"]
    assert result == {"$ref": "#/channels/ws/messages/server.X-"}
    assert "sendX-" in operations


def test_every_close_code_and_every_code_of_an_error_is_told():
    description = document()["info"]["description"]
    faults = [one for one in vars(errors).values() if isinstance(one, type)]
    codes = {getattr(one, name, None) for one in faults for name in ("reply_code", "close_code")}

    for code in codes - {None}:
        assert f"| {code} | " in description


def test_fields_are_described_by_the_strings_under_them():
    fields = document()["components"]["schemas"]["server.Ack"]["properties"]

    assert fields["message_id"]["description"] == "The command's `id`."


def test_what_is_written_already_has_the_shape_beside_it():
    fields = document()["components"]["schemas"]["server.Broadcast"]["properties"]

    assert fields["metadata"] == {"$ref": "#/components/schemas/server.BroadcastMetadata"}


class Wave(msgspec.Struct):
    """Waves at somebody."""

    to: str
    """Who is waved at."""


@pytest.mark.parametrize(
    ("side", "module", "operation"),
    [("client", client, "receiveWave"), ("server", server, "sendWave")],
)
def test_a_new_type_of_message_appears_by_itself(monkeypatch, side, module, operation):
    monkeypatch.setattr(module, "Wave", Wave, raising=False)
    monkeypatch.setitem(module.BODIES, "Wave", Wave)

    found = document()

    assert operation in found["operations"]
    assert found["components"]["messages"][f"{side}.Wave"]["summary"] == "Waves at somebody."
    wave = found["components"]["schemas"][f"{side}.Wave"]
    assert wave["properties"]["to"]["description"] == "Who is waved at."


# ---- what is said fits it ------------------------------------------------------------------------

KEPT = topic_delivery(serial=9, epoch="e", offset=7, replayed=True, metadata=b'"x":1e999')
FRAMES = [
    frames.status("unsubscribed", {"topics": ["a"], "active_subscriptions": 0}),
    frames.ack("m", "delivered", recipients=1, server_message_id="broadcast_1"),
    frames.ack("m", "ok", succeeded=1, failed=0),
    frames.error(errors.NotFound("Nobody", queued=True), "m"),
    frames.pong(b"[1]", "m"),
    frames.auth_status("token_expiring", 1),
    frames.history("a", HistoryPage("h", "e", 7, complete=True, messages=[KEPT]), None),
    frames.topic_delivery(KEPT),
    frames.topic_delivery(
        topic_delivery(form=Form.PRESENCE, payload=frames.presence("u", "offline", 1, b"{}"))
    ),
    frames.direct_delivery(direct_delivery(queued=True)),
    frames.ping(5),
    frames.extension_result("X-a", b"7", "m"),
    frames.extension_command(
        ExtensionCommand("X-a", msgspec.Raw(b"{}"), "alice", "c", 1500), "extension_1"
    ),
]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: read(frame)["type"])
def test_what_the_server_writes_fits_the_document(frame):
    assert misfits(read(frame)) == []


def samples() -> Iterator[dict[str, Any]]:
    """Yield the messages that stand in docs/protocol.md."""
    decoder = json.JSONDecoder()
    for block in (DOCS / "protocol.md").read_text().split("```json\n")[1:]:
        text = block.partition("```")[0].strip()
        while text:
            sample, end = decoder.raw_decode(text)
            if "type" in sample:
                yield sample
            text = text[end:].strip()


SAMPLES = list(samples())


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: message["type"])
def test_each_sample_of_the_protocol_page_fits_the_document(message):
    assert len(SAMPLES) > 20
    assert [] in (misfits(message), misfits(message, "client"))


@pytest.mark.parametrize(
    "message",
    [
        {"type": "Ack", "data": {"message_id": "m", "status": "fine"}},
        {"type": "Status", "data": {"status": "subscribed", "details": {"topics": ["a"]}}},
        {"type": "Broadcast", "data": {"topic": "a", "payload": 1, "metadata": {"sent_at": 1}}},
        {"type": "Error", "data": {"code": 400, "message": "No"}},
    ],
    ids=json.dumps,
)
def test_what_the_server_never_writes_does_not_fit_the_document(message):
    assert misfits(message)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "Ping"},
        {"type": "Subscribe", "data": {"topics": []}},
        {"type": "Broadcast", "data": {"topic": "a", "payload": 1}, "id": ""},
        {"type": "Broadcast", "data": {"topic": "a", "payload": 1}, "metadata": {"ttl": -1}},
        {"type": "Presence", "data": {"status": "offline"}},
        {"type": "Dance", "data": {}},
        {"type": "X-", "data": {}},
        {"type": "X-a b", "data": {}},
        {"type": "X-a", "data": 1},
        {"type": "Register", "data": {"types": ["a"]}},
        {"type": "Reply", "data": {"to": "m", "error": {"code": 200, "message": "fine"}}},
    ],
    ids=json.dumps,
)
def test_what_the_server_refuses_does_not_fit_the_document(message):
    assert misfits(message, "client")
    with pytest.raises(errors.BadRequest):
        client.parse(json.dumps(message))

"""Extensions without a broker: what is said, who may serve, what a handler is (X1)."""

import json
import sys
from types import ModuleType
from typing import Any

import pytest
from msgspec import Raw

from extensions.handlers import Ask, ExtensionError, extension, load
from gateway.answers import Answers
from gateway.core import effects
from gateway.core.identity import Grants
from gateway.core.registrations import MAX_TYPES, Registrations
from shared.errors import BadRequest, Forbidden, WorkerFailed
from shared.messages import client, frames
from shared.messages.client import parse
from shared.messages.extensions import (
    MAX_ANSWER_BYTES,
    ExtensionAnswer,
    ExtensionCommand,
    Failure,
    encode,
    read_answer,
    read_command,
)
from shared.settings import WrongSettings


def message(kind: str, data: Any, **rest: Any) -> str:
    return json.dumps({"type": kind, "data": data, **rest})


# ---- what clients say ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["X-CustomAction", "X-a", "X-0-_", "X-" + "a" * 64])
def test_a_type_of_an_extension_is_understood_and_its_data_left_as_it_is(name):
    command = parse(f'{{"type":"{name}","data":{{"a": 1e999}},"id":"m","timestamp":5}}')

    assert isinstance(command.body, client.Extension)
    assert (command.body.type, bytes(command.body.data)) == (name, b'{"a": 1e999}')
    assert (command.id, command.metadata) == ("m", b'"client_timestamp":5')


@pytest.mark.parametrize(
    "name", ["X-", "X--a", "X-_a", "X-a b", "X-a.b", "X-é", "X-" + "a" * 65, "X-a\n", "x-a", "X_a"]
)
def test_other_names_are_refused_and_the_type_is_to_blame(name):
    with pytest.raises(BadRequest) as caught:
        parse(message(name, {}))
    assert caught.value.details["field"] == "type"


def test_the_data_of_an_extension_is_an_object():
    with pytest.raises(BadRequest) as caught:
        parse(message("X-a", [1]))
    assert caught.value.details["field"] == "data"


@pytest.mark.parametrize("kind", ["Register", "Unregister"])
@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, "data.types"),
        ({"types": []}, "data.types"),
        ({"types": "X-a"}, "data.types"),
        ({"types": ["X-a", "Ping"]}, "data.types[1]"),
        ({"types": ["X-a\n"]}, "data.types[0]"),
        ({"types": [7]}, "data.types[0]"),
        ({"types": [f"X-{n}" for n in range(33)]}, "data.types"),
    ],
)
def test_what_is_registered_are_types_of_extensions_and_not_too_many(kind, data, field):
    assert parse(message(kind, {"types": ["X-a", "X-b"]})).body.types == ["X-a", "X-b"]
    with pytest.raises(BadRequest) as caught:
        parse(message(kind, data))
    assert caught.value.details["field"] == field


@pytest.mark.parametrize("answer", [{"data": None}, {"data": [1]}, {"data": 0}])
def test_a_reply_holds_any_json_value(answer):
    reply = parse(message("Reply", {"to": "t", **answer})).body
    assert json.loads(encode(reply.answer)) == answer


def test_a_reply_may_hold_an_error():
    error = {"code": 409, "message": "Already done", "details": {"order": 7}}
    reply = parse(message("Reply", {"to": "t", "error": error})).body
    assert json.loads(encode(reply.answer)) == {"error": error}


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"data": 1}, "data.to"),
        ({"to": "", "data": 1}, "data.to"),
        ({"to": "t"}, "data"),
        ({"to": "t", "data": 1, "error": {"code": 400, "message": "m"}}, "data"),
        ({"to": "t", "error": {"code": 399, "message": "m"}}, "data.error.code"),
        ({"to": "t", "error": {"code": 600, "message": "m"}}, "data.error.code"),
        ({"to": "t", "error": {"code": 400}}, "data.error.message"),
        ({"to": "t", "error": {"code": 400, "message": "m", "details": []}}, "data.error.details"),
    ],
)
def test_a_reply_that_is_none_is_refused_by_its_field(data, field):
    with pytest.raises(BadRequest) as caught:
        parse(message("Reply", data))
    assert caught.value.details["field"] == field


# ---- who may serve -------------------------------------------------------------------------------


def granting(*patterns: str) -> Grants:
    return Grants.read({"extensions": list(patterns)})


def decide(held: Registrations, kind: str, data: Any, *granted: str) -> Any:
    return held.decide(parse(message(kind, data, id="m")), "extension_1", granting(*granted))


def test_registering_answers_with_what_is_new():
    held = Registrations()

    assert decide(held, "Register", {"types": ["X-b", "X-a", "X-b"]}, "*") == effects.Serve(
        ["X-b", "X-a"], "m"
    )
    assert decide(held, "Register", {"types": ["X-a", "X-c"]}, "*") == effects.Serve(["X-c"], "m")
    assert decide(held, "Unregister", {"types": ["X-a", "X-z"]}) == effects.Serve([], "m")
    assert held.types == {"X-b", "X-c"}


@pytest.mark.parametrize("granted", [(), ("X-a",), ("X-b", "X-a"), ("X-b.*",)])
def test_one_type_that_is_not_granted_changes_nothing(granted):
    held = Registrations()
    with pytest.raises(Forbidden) as caught:
        decide(held, "Register", {"types": ["X-a", "X-b", "X-c"]}, *granted)
    assert caught.value.details["right"] == "extensions"
    assert not held.types


def test_a_connection_serves_no_more_than_its_limit():
    held = Registrations()
    decide(held, "Register", {"types": [f"X-{n}" for n in range(MAX_TYPES)]}, "#")
    with pytest.raises(Forbidden) as caught:
        decide(held, "Register", {"types": ["X-0", "X-more"]}, "#")
    assert caught.value.details == {"limit": MAX_TYPES}
    assert len(held.types) == MAX_TYPES


def test_what_a_fresh_token_does_not_grant_is_served_no_more():
    held = Registrations()
    decide(held, "Register", {"types": ["X-a", "X-b"]}, "*")
    held.keep_granted(granting("X-b"))
    assert held.types == {"X-b"}


def test_to_ask_takes_no_right():
    asked = decide(Registrations(), "X-a", {"b": 1})
    assert (asked.body.type, asked.id, asked.ask) == ("X-a", "m", "extension_1")


# ---- what gateways and workers say ---------------------------------------------------------------


def command(**fields: Any) -> ExtensionCommand:
    values = {"type": "X-a", "data": Raw(b'{"b": 1e999}'), "from_user": "alice"}
    return ExtensionCommand(**{**values, "connection_id": "c", "sent_at_ms": 1500, **fields})


def test_a_command_is_plain_json_and_leaves_out_what_the_client_has_not_said():
    assert encode(command()) == (
        b'{"type":"X-a","data":{"b": 1e999},"from_user":"alice","connection_id":"c",'
        b'"sent_at_ms":1500}'
    )
    whole = json.loads(encode(command(data=Raw(b"{}"), id="m", metadata=Raw(b'{"k":1}'))))
    assert (whole["id"], whole["metadata"]) == ("m", {"k": 1})
    assert bytes(read_command(encode(command())).data) == b'{"b": 1e999}'


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"type":"X-a"}', b"\xff", b"[" * 100_000])
def test_what_is_no_command_is_a_value_error(body):
    with pytest.raises(ValueError, match="JSON"):
        read_command(body)


def test_a_client_that_serves_is_told_who_asks_in_words_that_no_header_can_forge():
    text = frames.extension_command(command(metadata=Raw(b'{"k":1}')), "extension_1")
    assert json.loads(text.replace(b"1e999", b"2")) == {
        "type": "X-a",
        "data": {"b": 2},
        "id": "extension_1",
        "metadata": {
            "k": 1,
            "sent_at": 1,
            "sent_at_ms": 1500,
            "message_id": "extension_1",
            "from_user": "alice",
            "connection_id": "c",
        },
    }


@pytest.mark.parametrize("result", [b"null", b"7", b'{"a": 1e999}', b'[1, "\\ud83d\\ude00"]'])
def test_a_result_is_left_as_it_is(result):
    assert read_answer(b'{"more": 1, "data": ' + result + b"}") == result
    assert encode(ExtensionAnswer(data=Raw(result))) == b'{"data":' + result + b"}"


def test_an_error_is_raised_with_its_code_message_and_details():
    failure = Failure(409, "Already done", {"message": Raw(b"1e999"), "self": Raw(b"[1]")})
    with pytest.raises(WorkerFailed) as caught:
        read_answer(encode(ExtensionAnswer(error=failure)))
    assert caught.value.reply_code == 409
    assert frames.error(caught.value, "m") == (
        b'{"type":"Error","data":{"code":409,"message":"Already done",'
        b'"details":{"message":1e999,"self":[1],"message_id":"m"}},"id":"m"}'
    )


@pytest.mark.parametrize("code", [429, 503])
def test_an_error_that_passes_says_when_to_try_again_unless_the_worker_has(code):
    assert WorkerFailed(code, "m", {}).details == {"retry_after_ms": 1000}
    assert WorkerFailed(code, "m", {"retry_after_ms": 5}).details == {"retry_after_ms": 5}
    assert WorkerFailed(400, "m", {}).details == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"7",
        b"{}",
        b'{"data": }',
        b'{"data": "\xff"}',
        b'{"data": 1, "error": {"code": 400, "message": "m"}}',
        b'{"error": null}',
        b'{"error": {"code": 399, "message": "m"}}',
        b'{"error": {"code": "400", "message": "m"}}',
        b'{"data": ' + b"[" * 100_000,
        b'{"data": "' + b"x" * MAX_ANSWER_BYTES + b'"}',
    ],
)
def test_what_is_no_answer_is_a_value_error(body):
    with pytest.raises(ValueError, match=r"answer|JSON"):
        read_answer(body)


async def test_of_two_answers_at_once_the_first_counts_and_a_late_one_is_for_nobody():
    answers = Answers()

    async def send() -> None:
        for body in (b"1", b"2"):
            answers.take_of_worker("ask", body)

    assert await answers.of_worker("ask", send()) == b"1"
    answers.take_of_worker("ask", b"3")


# ---- handlers ------------------------------------------------------------------------------------


async def nothing(ask: Ask) -> object:
    return None


@pytest.mark.parametrize("name", ["Custom", "X-", "X-a b", "X-" + "a" * 65, "X-a\n"])
def test_a_handler_is_for_a_type_of_an_extension(name):
    with pytest.raises(ValueError, match="is not X-"):
        extension(name)


@pytest.mark.parametrize("code", [0, 200, 399, 600])
def test_the_error_of_a_handler_has_the_code_of_an_error(code):
    with pytest.raises(ValueError, match="code"):
        ExtensionError(code, "m")


@pytest.fixture
def module(monkeypatch):
    """Makes a module with these members."""

    def make(name: str, **members: Any) -> str:
        made = ModuleType(name)
        vars(made).update(members)
        monkeypatch.setitem(sys.modules, name, made)
        return name

    return make


def test_the_handlers_of_modules_are_found_by_their_types(module):
    one, two = extension("X-one")(nothing), extension("X-two")(nothing)
    names = module("first", a=one, same=one, other=7), module("second", a=two, borrowed=one)

    assert load(names) == {"X-one": one, "X-two": two}
    assert load([]) == {}


def test_two_handlers_for_one_type_are_wrong(module):
    async def other(ask: Ask) -> object:
        return 1

    names = module("m", a=extension("X-one")(nothing), b=extension("X-one")(other))
    with pytest.raises(WrongSettings, match="two handlers for X-one"):
        load([names])


@pytest.mark.parametrize("name", ["no_such_module", "json.no_such_part", "no_such.part"])
def test_a_module_that_is_not_there_is_wrong(name):
    with pytest.raises(WrongSettings, match=f"no module named {name}"):
        load([name])


def test_a_module_without_handlers_is_wrong():
    with pytest.raises(WrongSettings, match="no handler in json"):
        load(["json"])


def test_what_a_module_lacks_itself_is_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "lacking.py").write_text("import no_such_module_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        load(["lacking"])

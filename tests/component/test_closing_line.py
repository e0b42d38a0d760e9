"""The one log line that each connection has; and one for each message, at the level of debug."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.embedded import Place, token, until


def closings(lines: list[Any]) -> list[Any]:
    return [one for one in lines if one["action"] == "close"]


@pytest.mark.parametrize("code", [1000, 4001], ids=["a usual end", "the client's own code"])
async def test_a_connection_that_its_client_ends_has_one_line(place: Place, code: int) -> None:
    with capture_logs() as lines:
        credential = token("alice")
        alice = await place.open(credential)
        welcome = await alice.hear()
        await alice.subscribe("a", "b")
        await alice.socket.close(code=code)
        await until(lambda: closings(lines) != [], "the line is there")
    [line] = closings(lines)
    assert line.pop("seconds") >= 0
    assert line == {
        "event": "connection closed",
        "action": "close",
        "log_level": "info",
        "connection": welcome["data"]["details"]["connection_id"],
        "user": "alice",
        "code": code,
        "messages": 1,
        "patterns": 2,
    }
    assert credential not in repr(lines)


async def test_a_connection_that_the_service_ends_has_one_with_its_code(place: Place) -> None:
    with capture_logs() as lines:
        alice = await place.connect("alice")
        for _ in range(10):
            await alice.raw("bad")
        for _ in range(10):
            await alice.hear()
        assert await alice.closed() == 4400
        await until(lambda: closings(lines) != [], "the line is there")
    [line] = closings(lines)
    assert (line["code"], line["messages"]) == (4400, 10)


async def test_whoever_looks_closely_finds_the_sender_of_a_message(place: Place) -> None:
    alice = await place.connect("alice")
    with capture_logs() as lines:
        ack = await alice.broadcast("chat.a", "a secret")
        *_, direct = await alice.direct("bob", "a secret")
    sent = [one for one in lines if one["action"] == "send"]
    ids = [ack["server_message_id"], direct["data"]["server_message_id"]]
    assert [one["message_id"] for one in sent] == ids
    assert {(one["connection"], one["user"], one["log_level"]) for one in sent} == {
        (alice.id, "alice", "debug")
    }
    assert "secret" not in repr(lines)

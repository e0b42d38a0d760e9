"""What operators type: ``realtime notify``, ``presence``, ``history``, ``kick`` and ``who``."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from realtime_client import Client, connect
from standalone.command_line import commands
from tests.support.embedded import SECRET, Message, token
from tests.support.served import Served


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with Served() as server:
        yield server


class Operator:
    """Somebody at a terminal, and a user who is connected."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._env = {"REALTIME_API_URL": served.url, "REALTIME_JWT_SECRET": SECRET}

    def types(self, *words: str, **env: str) -> Result:
        return CliRunner().invoke(commands, words, env={**self._env, **env})

    def prints(self, *words: str) -> str:
        """Type a command that succeeds; return what it prints."""
        result = self.types(*words)
        assert result.exit_code == 0, result.output
        return result.output

    def table(self, *words: str) -> list[list[str]]:
        return [line.split() for line in self.prints(*words).splitlines()]

    def json(self, *words: str) -> Message:
        found: Message = json.loads(self.prints(*words, "--json"))
        return found

    def connect(self, user: str) -> Client:
        url = self._served.url.replace("http", "ws") + "/ws"
        client: Client = self._served.do(connect(url, token(user, presence={"on": "web"})))
        return client

    def do(self, work: Any) -> Any:
        return self._served.do(work)


@pytest.fixture
def operator(served: Served) -> Operator:
    return Operator(served)


@pytest.fixture
def bob(operator: Operator) -> Iterator[Client]:
    client = operator.connect("bob")
    yield client
    operator.do(client.close())


async def next_of(client: Client) -> Message:
    async with asyncio.timeout(10):
        async for message in client.messages():
            return message
    raise AssertionError


def test_people_get_a_table_and_scripts_get_json(operator: Operator, bob: Client) -> None:
    operator.do(bob.subscribe("chat.a"))
    operator.do(bob.broadcast("chat.a", {"said": "hi"}))
    heads, row = operator.table("presence", "bob")
    assert heads == ["USER", "STATUS", "CONNECTIONS", "SINCE", "METADATA"]
    assert (row[:3], row[-1]) == (["bob", "online", "1"], '{"on":"web"}')
    assert operator.json("presence", "bob", "carol")["users"][1]["status"] == "offline"
    assert operator.table("who", "chat.a") == [["USER", "CONNECTIONS"], ["bob", "1"]]
    assert operator.json("who", "chat.a")["connections"] == 1
    heads, row = operator.table("history", "chat.a")
    assert heads == ["OFFSET", "SENT", "FROM", "PAYLOAD"]
    assert (row[0], row[-2:]) == ("1", ["bob", '{"said":"hi"}'])
    assert operator.json("history", "chat.a", "--after", "1")["messages"] == []


def test_history_can_be_read_in_parts_which_say_that_they_are_not_all(
    operator: Operator, bob: Client
) -> None:
    for number in range(3):
        operator.do(bob.broadcast("chat.b", number))
    result = operator.types("history", "chat.b", "--limit", "1", "--reverse")
    assert result.stdout.splitlines()[1].startswith("3 ")
    assert result.stderr == "This is not all.\n"


def test_a_notification_is_sent_to_those_who_are_named(operator: Operator, bob: Client) -> None:
    link = "--action=Learn More=https://status.example.com/?a=b"
    sent = operator.json("notify", "Soon", "In 1 hour", "--user", "bob", "--level=warning", link)
    heard = operator.do(next_of(bob))
    assert heard["type"] == "Notification"
    assert heard["data"]["id"] == sent["message_id"]
    assert heard["data"]["actions"] == [
        {"label": "Learn More", "url": "https://status.example.com/?a=b"}
    ]
    assert operator.table("notify", "Now", "All", "--all")[1][0] == "1"
    assert operator.json("notify", "Later", "x", "--user=carol", "--ttl=60")["queued"] == 1


def test_a_user_is_kicked(operator: Operator, bob: Client) -> None:
    assert operator.table("kick", "bob") == [["USER", "DISCONNECTED"], ["bob", "1"]]
    assert operator.do(asyncio.wait_for(asyncio.shield(bob.closed), 10)) == 4409


def test_what_goes_wrong_is_told_in_one_line(operator: Operator) -> None:
    result = operator.types("history", "a.*")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "400 A topic may hold no wildcard" in result.stderr
    result = operator.types("who", "a", REALTIME_API_KEY="wrong")
    assert (result.exit_code, "401" in result.stderr) == (1, True)
    result = operator.types("who", "a", REALTIME_API_URL="http://127.0.0.1:1")
    assert (result.exit_code, "cannot be reached" in result.stderr) == (1, True)
    for words in (["Soon", "x"], ["Soon", "x", "--all", "--user", "bob"]):
        assert operator.types("notify", *words).exit_code == 2

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from realtime_client import (
    Client,
    CommandFailed,
    CommandTimeout,
    ConnectionClosed,
    ConnectionRefused,
    Unreachable,
    connect,
)

Socket = web.WebSocketResponse
Behaviour = Callable[[Socket, dict[str, Any]], Awaitable[None]]

WELCOME = {
    "type": "Status",
    "data": {
        "status": "connected",
        "details": {"connection_id": "c-1", "user_id": "alice", "protocol_version": "1.0"},
    },
}
BROADCAST = {"type": "Broadcast", "data": {"topic": "a", "payload": {"n": 1}, "metadata": {}}}


def ack(id_: str, **data: Any) -> dict[str, Any]:
    return {"type": "Ack", "data": {"message_id": id_, **data}, "id": id_}


def failure(code: int, message: str, **details: Any) -> dict[str, Any]:
    return {"type": "Error", "data": {"code": code, "message": message, "details": details}}


@asynccontextmanager
async def serving(conversation: Callable[[Socket], Awaitable[None]]) -> AsyncIterator[str]:
    """The URL of a server that admits the token "good" and then holds this conversation."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer good":
            raise web.HTTPUnauthorized
        socket = Socket()
        await socket.prepare(request)
        await conversation(socket)
        return socket

    app = web.Application()
    app.router.add_get("/ws", handle)
    async with TestServer(app) as server:
        yield str(server.make_url("/ws").with_scheme("ws"))


@asynccontextmanager
async def connected(answer: Behaviour, **options: Any) -> AsyncIterator[Client]:
    """A client whose server answers every command with ``answer``."""

    async def conversation(socket: Socket) -> None:
        await socket.send_json(WELCOME)
        async for frame in socket:
            await answer(socket, json.loads(frame.data))

    async with (
        serving(conversation) as url,
        await connect(url, "good", **options) as client,
    ):
        yield client


async def silent(socket: Socket, command: dict[str, Any]) -> None:
    """Answer nothing."""


async def test_connecting_ends_with_the_welcome():
    async with connected(silent) as client:
        assert client.welcome["protocol_version"] == "1.0"
        assert (client.user_id, client.connection_id) == ("alice", "c-1")


async def test_a_bad_token_is_refused_with_the_http_status():
    async with serving(lambda socket: socket.send_json(WELCOME)) as url:
        with pytest.raises(ConnectionRefused) as refusal:
            await connect(url, "bad")

    assert refusal.value.code == 401


async def test_an_error_in_place_of_the_welcome_is_a_refusal():
    async def refuse(socket: Socket) -> None:
        await socket.send_json(failure(401, "The token has expired"))
        await socket.close(code=4401)

    async with serving(refuse) as url:
        with pytest.raises(ConnectionRefused) as refusal:
            await connect(url, "good")

    assert (refusal.value.code, refusal.value.message) == (401, "The token has expired")


async def test_without_a_server_the_error_names_the_url():
    with pytest.raises(Unreachable, match=r"ws://127\.0\.0\.1:1/ws"):
        await connect("ws://127.0.0.1:1/ws", "good")


async def test_a_silent_server_does_not_keep_us_waiting_for_the_welcome():
    async def say_nothing(socket: Socket) -> None:
        await socket.receive()

    async with serving(say_nothing) as url:
        with pytest.raises(CommandTimeout):
            await connect(url, "good", command_timeout=0.05)


async def test_subscribing_gives_the_details_of_the_status_once_it_is_acknowledged():
    async def answer(socket: Socket, command: dict[str, Any]) -> None:
        details = {"topics": command["data"]["topics"], "active_subscriptions": 2}
        status = {"status": "subscribed", "details": details}
        await socket.send_json({"type": "Status", "data": status, "id": command["id"]})
        await socket.send_json(ack(command["id"], status="subscribed"))
        await socket.send_json(BROADCAST)

    async with connected(answer) as client:
        details = await client.subscribe("chat.*", "news")

        assert details == {"topics": ["chat.*", "news"], "active_subscriptions": 2}
        assert await anext(client.messages()) == BROADCAST  # and not the Status


async def test_answers_find_their_commands_in_any_order():
    commands: list[dict[str, Any]] = []

    async def answer_the_second_first(socket: Socket, command: dict[str, Any]) -> None:
        commands.append(command)
        if len(commands) == 2:
            for each in reversed(commands):
                topic = each["data"]["topic"]
                await socket.send_json(ack(each["id"], status="delivered", topic=topic))

    async with connected(answer_the_second_first) as client:
        first, second = await asyncio.gather(
            client.broadcast("a", 1, {"ttl": 0}), client.broadcast("b", 2, id="mine")
        )

    assert (first["topic"], second["topic"]) == ("a", "b")
    assert commands[0]["metadata"] == {"ttl": 0}
    assert (commands[1]["id"], second["message_id"]) == ("mine", "mine")


async def test_a_message_to_an_offline_user_ends_queued():
    async def answer(socket: Socket, command: dict[str, Any]) -> None:
        id_ = command["id"]
        await socket.send_json(failure(404, "offline", message_id=id_, queued=True) | {"id": id_})
        await socket.send_json(ack(id_, status="queued", delivered_to=[]))

    async with connected(answer) as client:
        assert (await client.direct_message("bob", "hi"))["status"] == "queued"


async def test_a_message_that_nobody_keeps_fails():
    async def answer(socket: Socket, command: dict[str, Any]) -> None:
        # Found by details.message_id alone, as the reference shows it.
        await socket.send_json(failure(404, "offline", message_id=command["id"], queued=False))

    async with connected(answer) as client:
        with pytest.raises(CommandFailed) as error:
            await client.direct_message("bob", "hi")

    assert (error.value.code, error.value.message) == (404, "offline")
    assert error.value.details["queued"] is False


async def test_what_answers_no_command_is_among_the_messages_until_the_end():
    error = failure(503, "Going away")

    async def answer(socket: Socket, command: dict[str, Any]) -> None:
        await socket.send_json(BROADCAST)
        await socket.send_json(error)
        await socket.send_json(ack("somebody-else"))
        await socket.close(code=1012)

    async with connected(answer) as client:
        await client.send_raw("{}")

        assert [BROADCAST, error, ack("somebody-else")] == [m async for m in client.messages()]
        assert await client.closed == 1012


async def test_a_full_buffer_slows_the_server_down():
    total = 500  # of 64 KiB: more than two sockets hold
    all_sent = asyncio.Event()

    async def flood(socket: Socket, command: dict[str, Any]) -> None:
        for number in range(total):
            await socket.send_json({"type": "Broadcast", "data": number, "filler": "x" * 65536})
        all_sent.set()

    async with connected(flood, buffer_size=2) as client:
        await client.send_raw("{}")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(all_sent.wait(), 0.5)
        messages = client.messages()

        assert list(range(total)) == [(await anext(messages))["data"] for _ in range(total)]
        assert all_sent.is_set()


async def test_a_command_without_an_answer_times_out():
    async with connected(silent) as client:
        client._command_timeout = 0.05
        with pytest.raises(CommandTimeout, match="Ping"):
            await client.ping(1)


async def test_a_lost_connection_ends_all_that_waits():
    async def leave(socket: Socket, command: dict[str, Any]) -> None:
        await socket.close(code=4401)

    async with connected(leave) as client:
        with pytest.raises(ConnectionClosed) as error:
            await client.ping(1)

        assert error.value.code == await client.closed == 4401
        with pytest.raises(ConnectionClosed):
            await client.ping(2)


async def test_a_torn_connection_is_an_abnormal_closure():
    async def tear(socket: Socket, command: dict[str, Any]) -> None:
        assert socket._req is not None
        assert socket._req.transport is not None
        socket._req.transport.close()

    async with connected(tear) as client:
        with pytest.raises(ConnectionClosed):
            await client.ping(1)

        assert await client.closed == 1006


async def test_closing_does_not_wait_for_room_in_the_buffer():
    async def chatter(socket: Socket, command: dict[str, Any]) -> None:
        for _ in range(3):
            await socket.send_json(BROADCAST)

    async with connected(chatter, buffer_size=1) as client:
        await client.send_raw("{}")
        await asyncio.sleep(0.05)
        await asyncio.wait_for(client.close(), 1)

        assert [m async for m in client.messages()] == [BROADCAST]
        assert await client.closed == 1000


async def test_giving_up_on_closed_does_not_close_anything():
    async with connected(silent) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.closed, 0.01)
        closed = client.closed
        assert not closed.done()

    assert await closed == 1000


async def test_a_message_that_is_not_json_ends_the_connection():
    async def babble(socket: Socket, command: dict[str, Any]) -> None:
        await socket.send_str("not json")

    async with connected(babble) as client:
        await client.send_raw("{}")

        assert [m async for m in client.messages()] == []
        assert await client.closed == 1002

"""What a client of the chaos suite says when it returns, heard by a gateway that is only played."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from tests.chaos.clients import PLAIN, ChaosClient, Habits
from tests.chaos.history import Closed, Key, Received, Recovery, Subscribed
from tests.chaos.publishers import Publisher
from tests.chaos.recorder import Recorder
from tests.support.cluster import free_ports

Message = dict[str, Any]
SERVER_TIME_MS = 1_700_000_000_000
RESUMES = Habits()


class Stage:
    """Welcomes whoever comes; the test plays the rest."""

    def __init__(self) -> None:
        self.sockets: asyncio.Queue[web.WebSocketResponse] = asyncio.Queue()
        self.queries: list[dict[str, str]] = []
        self.recorder = Recorder()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.queries.append(dict(request.query))
        details = {"connection_id": str(len(self.queries)), "node_id": "gateway-1"}
        await self.say(
            socket,
            "Status",
            status="connected",
            details={**details, "server_time_ms": SERVER_TIME_MS},
        )
        await self.sockets.put(socket)
        await asyncio.Event().wait()
        return socket

    async def say(self, socket: web.WebSocketResponse, kind: str, **data: Any) -> None:
        command_id = data.pop("id", None)
        await socket.send_json({"type": kind, "data": data, "id": command_id})

    async def subscribed(self, socket: web.WebSocketResponse, **details: Any) -> Message:
        """Answer a Subscribe; return it."""
        asked: Message = await socket.receive_json(timeout=5)
        details["topics"] = asked["data"]["topics"]
        await self.say(socket, "Status", status="subscribed", details=details, id=asked["id"])
        await self.say(socket, "Ack", status="subscribed", message_id=asked["id"], id=asked["id"])
        return asked

    async def until(self, kind: type) -> Any:
        async with asyncio.timeout(5):
            while not (found := [one for one in self.recorder.events if isinstance(one, kind)]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return found[-1]


@asynccontextmanager
async def played(
    kind: type[ChaosClient] = ChaosClient, habits: Habits = RESUMES, **more: Any
) -> AsyncIterator[tuple[Stage, ChaosClient]]:
    stage, app, (port,) = Stage(), web.Application(), free_ports(1)
    app.router.add_get("/ws", stage.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with aiohttp.ClientSession() as session:
        urls = [f"ws://127.0.0.1:{port}/ws"]
        client = kind("bob", stage.recorder, session, urls, habits=habits, **more)
        client.come()
        try:
            yield stage, client
        finally:
            await client.leave()
            await runner.cleanup()


def metadata(message_id: str, **more: Any) -> Message:
    return {"message_id": message_id, "sent_at_ms": SERVER_TIME_MS + 5, **more}


async def test_a_client_that_resumes_confirms_its_direct_messages() -> None:
    async with played() as (stage, _):
        socket = await stage.sockets.get()
        for name in ("dm_1", "dm_2"):
            data = {"payload": {"key": ["ann", 1]}, "metadata": metadata(name, queued=True)}
            await stage.say(socket, "DirectMessage", from_user="ann", **data)
        confirm = await socket.receive_json(timeout=5)
        assert stage.queries == [{"acks": "1"}]
    assert confirm == {"type": "Ack", "data": {"message_ids": ["dm_1", "dm_2"]}}
    received = await stage.until(Received)
    assert (received.key, received.message_id, received.queued) == (Key("ann", 1), "dm_2", True)


async def test_a_plain_client_confirms_and_recovers_nothing() -> None:
    async with played(habits=PLAIN, patterns=("t.a",)) as (stage, _):
        asked = []
        for _ in range(2):
            socket = await stage.sockets.get()
            asked.append((await stage.subscribed(socket))["data"])
            await socket.close()
    assert (stage.queries, asked) == ([{}, {}], [{"topics": ["t.a"]}] * 2)


async def test_a_client_that_returns_says_where_it_was_in_each_topic_and_pattern() -> None:
    async with played(patterns=("t.a", "t.*", "u.a")) as (stage, _):
        socket = await stage.sockets.get()
        assert "recover" not in (await stage.subscribed(socket))["data"]
        place = {"offset": 7, "epoch": "e"}
        data = {"payload": {}, "metadata": metadata("broadcast_1", **place)}
        await stage.say(socket, "Broadcast", topic="t.a", **data)
        await stage.until(Received)
        await socket.close()
        await stage.until(Closed)
        again = await stage.sockets.get()
        told = {"t.a": True, "t.*": False, "u.a": True}
        asked = await stage.subscribed(again, recovered=told)
        async with asyncio.timeout(5):
            while not (subscribed := await stage.until(Subscribed)).recoveries:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert asked["data"]["recover"] == {
        "t.a": place,
        "t.*": {"since": SERVER_TIME_MS + 5},
        "u.a": {"since": SERVER_TIME_MS},
    }
    assert subscribed.recoveries == (
        Recovery("t.a", True, 7, "e"),
        Recovery("t.*", False),
        Recovery("u.a", True),
    )


async def test_a_publisher_repeats_after_a_503_and_on_its_next_connection_as_the_same() -> None:
    async with played(Publisher, routes=[("broadcast", "t.a")], rate=1) as (stage, publisher):
        assert isinstance(publisher, Publisher)
        publisher.publish()
        socket = await stage.sockets.get()
        first = await socket.receive_json(timeout=5)
        details = {"retry_after_ms": 1, "message_id": first["id"]}
        await stage.say(socket, "Error", code=503, message="", details=details, id=first["id"])
        second = await socket.receive_json(timeout=5)
        await socket.close()
        third = await (await stage.sockets.get()).receive_json(timeout=5)
        for task in publisher.tasks:
            task.cancel()
    assert first == second == third
    assert first["metadata"]["idempotency_key"] == first["id"]

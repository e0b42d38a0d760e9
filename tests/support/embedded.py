"""All three services inside a test's own loop, and people who talk to them over real sockets."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

import jwt
from aiohttp import ClientWebSocketResponse, WSMsgType, web
from aiohttp.test_utils import BaseTestServer, TestClient
from prometheus_client import CollectorRegistry
from yarl import URL

from extensions.app import make_worker
from gateway.app import listening, make_node, run_node
from presence_service.app import make_presence
from router.app import make_router
from shared.broker.memory import MemoryBroker, MemoryChannel, MemoryConnection
from shared.broker.ports import Address
from shared.errors import BrokerUnavailable
from shared.settings import Settings, load
from shared.trail import Tracer, Trail
from tests.support.binary import TYPES, unpacked

SECRET = "the secret of the component tests, which opens nothing"
PATIENCE = 10.0
"""Seconds after which what should have come is missed; never waited for when all is well."""

Message = dict[str, Any]


def token(user: str, lasts: float = 3600, *, secret: str = SECRET, **claims: Any) -> str:
    """Return a token; ``claims`` are added and win."""
    now = time.time()
    body = {"sub": user, "iat": now, "exp": now + lasts, **claims}
    return jwt.encode(body, secret, algorithm="HS256")


class FragileBroker(MemoryBroker):
    """A broker that can be away."""

    away = False

    async def connect(self, name: str) -> MemoryConnection:
        if self.away:
            raise BrokerUnavailable
        return await super().connect(name)

    def leave(self) -> None:
        """Be away until further notice."""
        self.away = True
        self.cut()


class Gate:
    """Holds back what is published to queues whose names begin so, until it is opened."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._publish = MemoryChannel.publish
        self._tickets = asyncio.Semaphore(0)
        self._is_open = False
        self.held = asyncio.Event()
        """Set once something waits at the gate."""

    def __enter__(self) -> "Gate":
        gate = self

        async def publish(
            channel: MemoryChannel, body: bytes, to: Address, **properties: Any
        ) -> None:
            if to.queue.startswith(gate._prefix):
                await gate._wait()
            await gate._publish(channel, body, to, **properties)

        MemoryChannel.publish = publish  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        self.open()
        MemoryChannel.publish = self._publish  # type: ignore[method-assign]

    async def _wait(self) -> None:
        if not self._is_open:
            self.held.set()
            await self._tickets.acquire()
        if self._is_open:
            self._tickets.release()

    def let_one_through(self) -> None:
        """Let the first that waits go on."""
        self._tickets.release()

    def open(self) -> None:
        """Let everything through, from now on."""
        self._is_open = True
        self._tickets.release()


class EmbeddedServer(BaseTestServer):
    """Router, presence service and gateway over a broker in memory, for pytest-aiohttp's client."""

    def __init__(self, tracer: Tracer | None = None, **given: Any) -> None:
        super().__init__()
        development = {"mode": "development", "host": "127.0.0.1", "port": 0, "partitions": 2}
        self.settings: Settings = load(
            {}, **{**development, "jwt_secret": SECRET, "admin_port": 0, **given}
        )
        self.broker = FragileBroker()
        self.registry = CollectorRegistry()
        self.trail = Trail("realtime", self.settings.node_id, time.time_ns, tracer)
        self.router = make_router(self.settings, self.broker, self.registry, self.trail)
        self.presence = make_presence(self.settings, self.broker, self.registry, self.trail)
        self.node = make_node(self.settings, self.broker, self.registry, self.trail)
        self.worker = make_worker(self.settings, self.broker, self.registry)
        self._stack = AsyncExitStack()

    @property
    def ready(self) -> bool:
        """Whether all three services are."""
        services = (self.router, self.presence, self.node.membership, self.worker)
        return all(one.ready for one in services)

    async def start_server(
        self, loop: asyncio.AbstractEventLoop | None = None, **kwargs: Any
    ) -> None:
        """Start everything and wait until it is ready."""
        port = await self._stack.enter_async_context(self._serving())
        self.scheme = "http"
        self.port = port
        self._root = URL(f"http://{self.host}:{port}")

    async def close(self) -> None:
        """Stop everything; fail if something was left running."""
        await self._stack.aclose()

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[int]:
        strangers = asyncio.all_tasks()
        services = [
            asyncio.create_task(one.run()) for one in (self.router, self.presence, self.worker)
        ]
        await until(lambda: self.router.ready and self.presence.ready, "the services are ready")
        async with listening(self.node) as clients:
            self.drain = clients.drain
            services.append(asyncio.create_task(run_node(self.node)))
            await until(lambda: self.ready, "the gateway is ready")
            yield clients.port
        for service in services:
            assert not service.done(), service
            service.cancel()
        await asyncio.wait(services)
        left = {one for one in asyncio.all_tasks() - strangers if not one.done()}
        assert left <= {asyncio.current_task()}, left

    async def _make_runner(self, **kwargs: Any) -> web.AppRunner:
        raise NotImplementedError  # start_server does it all

    async def forgotten(self, user: str) -> None:
        """Wait until the gateway holds no connection of this user."""
        await until(lambda: not self.node.connections.of_user(user), f"{user} is gone")


async def until(holds: Callable[[], bool], what: str) -> None:
    """Let the loop run until something holds that no event tells."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"never came true: {what}"
        await asyncio.sleep(0.001)


class Talk:
    """One person's open socket: says and hears JSON messages."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.welcome: Message = {}
        self._aside: list[Message] = []
        self._ids = (f"ask-{number}" for number in count(1))

    @property
    def id(self) -> str:
        """What the service calls this connection."""
        return str(self.welcome["connection_id"])

    async def say(self, kind: str, data: Any, **rest: Any) -> None:
        """Send a message and wait for nothing."""
        await self.raw(json.dumps({"type": kind, "data": data, **rest}))

    async def raw(self, text: str) -> None:
        """Send text as it is."""
        await self.socket.send_str(text)

    async def send(self, frame: bytes) -> None:
        """Send a binary message as it is."""
        await self.socket.send_bytes(frame)

    async def hear_text(self) -> str:
        """Return the next message as it came."""
        async with asyncio.timeout(PATIENCE):
            frame = await self.socket.receive()
        assert frame.type is WSMsgType.TEXT, frame
        return str(frame.data)

    async def hear(self) -> Message:
        """Return the next message; a binary one as in a page of history, but with bare bytes."""
        return self._aside.pop(0) if self._aside else await self._next()

    async def _next(self) -> Message:
        async with asyncio.timeout(PATIENCE):
            frame = await self.socket.receive()
        if frame.type is WSMsgType.BINARY:
            kind, header, body = unpacked(frame.data)
            return {"type": "Binary", "data": {"type": TYPES[kind], "header": header, "body": body}}
        assert frame.type is WSMsgType.TEXT, frame
        message: Message = json.loads(frame.data)
        return message

    async def hears(self, number: int) -> list[Message]:
        """Return so many next messages."""
        return [await self.hear() for _ in range(number)]

    async def ask(self, kind: str, data: Any, **rest: Any) -> list[Message]:
        """Send a command and return all that answers it; what else comes is heard later."""
        command_id = rest.setdefault("id", next(self._ids))
        await self.say(kind, data, **rest)
        return await self.answers(command_id)

    async def answers(self, command_id: str) -> list[Message]:
        """Return all that answers a command, up to its Ack or Error."""
        found: list[Message] = []
        while not (found and _ends(found[-1])):
            message = await self._next()
            (found if _answered(message) == command_id else self._aside).append(message)
        return found

    async def told(self) -> list[Message]:
        """Return all that has come so far."""
        await self.ask("Ping", {}, id=f"fence {next(self._ids)}")
        told, self._aside = self._aside, []
        return told

    async def closed(self) -> int | None:
        """Wait for the close that must come next; return its code."""
        async with asyncio.timeout(PATIENCE):
            frame = await self.socket.receive()
        assert frame.type in {WSMsgType.CLOSE, WSMsgType.CLOSED}, frame
        # Of a wire that is gone already aiohttp says 1006, whatever came over it before.
        return frame.data if frame.type is WSMsgType.CLOSE else self.socket.close_code

    async def close(self) -> None:
        """Leave."""
        await self.socket.close()

    # ---- the commands ----------------------------------------------------------------------------

    async def subscribe(self, *topics: str) -> Message:
        """Subscribe; return the details of the Status."""
        status, ack = await self.ask("Subscribe", {"topics": topics})
        assert (status["type"], ack["type"]) == ("Status", "Ack"), (status, ack)
        details: Message = status["data"]["details"]
        return details

    async def broadcast(self, topic: str, payload: Any, **rest: Any) -> Message:
        """Broadcast; return the data of the Ack."""
        [ack] = await self.ask("Broadcast", {"topic": topic, "payload": payload}, **rest)
        assert ack["type"] == "Ack", ack
        data: Message = ack["data"]
        return data

    async def direct(self, user: str, payload: Any, **rest: Any) -> list[Message]:
        """Send a direct message; return all that answers it."""
        return await self.ask("DirectMessage", {"target_user": user, "payload": payload}, **rest)

    async def refused(self, kind: str, data: Any, **rest: Any) -> Message:
        """Send a command that fails; return the data of the Error."""
        [error] = await self.ask(kind, data, **rest)
        assert error["type"] == "Error", error
        fault: Message = error["data"]
        return fault


def _answered(message: Message) -> Any:
    return message.get("id") or (message["data"].get("details") or {}).get("message_id")


def _ends(message: Message) -> bool:
    if message["type"] == "Error":
        return (message["data"].get("details") or {}).get("queued") is not True
    return bool(message["type"] == "Ack")


class Place:
    """A running service, and the way in."""

    def __init__(self, server: EmbeddedServer, client: "TestClient[Any, Any]") -> None:
        self.server = server
        self.client = client

    async def open(self, credential: str | None = None, **kwargs: Any) -> Talk:
        """Open a socket and read nothing; the credential goes into the query."""
        path = "/ws" if credential is None else f"/ws?token={credential}"
        return Talk(await self.client.ws_connect(path, max_msg_size=0, **kwargs))

    async def connect(self, user: str, lasts: float = 3600, **claims: Any) -> Talk:
        """Connect a user and read the Welcome."""
        talk = await self.open(token(user, lasts, **claims))
        welcome = await talk.hear()
        assert welcome["data"]["status"] == "connected", welcome
        talk.welcome = welcome["data"]["details"]
        return talk

    async def people(self, *users: str) -> list[Talk]:
        """Connect several users."""
        return [await self.connect(user) for user in users]

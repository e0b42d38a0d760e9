"""One connection to the real-time service.

command() -> socket        the answer comes back to the caller by its id
messages() <- Inbox <- socket        everything else
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import responses
from types import TracebackType
from typing import Any, Self

import aiohttp

from realtime_client.errors import (
    CommandFailed,
    CommandTimeout,
    ConnectionClosed,
    ConnectionRefused,
    RealtimeError,
    Unreachable,
)

Message = dict[str, Any]
"""A message as it came: ``type``, ``data`` and, on late answers, ``id``."""

NORMAL_CLOSURE = 1000
PROTOCOL_ERROR = 1002
ABNORMAL_CLOSURE = 1006

HEARTBEAT_SECONDS = 25.0
CLOSING_SECONDS = 2.0


async def connect(
    url: str, token: str, *, command_timeout: float = 10.0, buffer_size: int = 10_000
) -> "Client":
    """Open a connection and wait for the server's Welcome.

    Args:
        url: The endpoint, such as ``ws://localhost:8081/ws``.
        token: The JWT; it travels in the ``Authorization`` header.
        command_timeout: Seconds that the Welcome and the answer to each command may take.
        buffer_size: Messages kept for ``messages()`` before the client stops reading.

    Raises:
        Unreachable: nobody answers at this URL.
        ConnectionRefused: the server does not let us in, usually because of the token.
        CommandTimeout: the connection is open, but no Welcome came.
    """
    async with AsyncExitStack() as opened:
        with _translate(url, command_timeout):
            async with asyncio.timeout(command_timeout):
                session = await opened.enter_async_context(aiohttp.ClientSession())
                socket = await opened.enter_async_context(
                    session.ws_connect(
                        url,
                        headers={"Authorization": f"Bearer {token}"},
                        heartbeat=HEARTBEAT_SECONDS,
                        timeout=aiohttp.ClientWSTimeout(ws_close=CLOSING_SECONDS),
                    )
                )
                welcome = await _welcome(socket)
        opened.pop_all()  # from here on the client closes them
        return Client(
            session, socket, welcome, command_timeout=command_timeout, buffer_size=buffer_size
        )


@contextmanager
def _translate(url: str, seconds: float) -> Iterator[None]:
    try:
        yield
    except aiohttp.WSServerHandshakeError as error:
        raise ConnectionRefused(error.status, responses.get(error.status, "Refused")) from error
    except TimeoutError as error:
        raise CommandTimeout(f"no Welcome from {url} within {seconds} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unreachable(url, str(error)) from error


async def _welcome(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """The details of the Welcome, which is the first frame unless we are refused."""
    frame = await socket.receive()
    if frame.type is not aiohttp.WSMsgType.TEXT:
        code = socket.close_code or ABNORMAL_CLOSURE
        raise ConnectionRefused(code, "closed before the Welcome")
    match json.loads(frame.data):
        case {"type": "Status", "data": {"status": "connected", "details": dict(details)}}:
            return details
        case {"type": "Error", "data": {"code": int(code), "message": str(message)}}:
            raise ConnectionRefused(code, message)
    raise ConnectionRefused(PROTOCOL_ERROR, "the first message is no Welcome")


class Client:
    """An open connection; get one from ``connect``.

    It does not reconnect yet: when the connection is lost, commands raise ``ConnectionClosed`` and
    ``messages()`` ends, and ``closed`` says with which code.

    What arrives is kept for ``messages()``. While that buffer is full nothing is read, answers
    included, so that TCP slows the server down; a connection that stands still for half a minute
    is given up by either side.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        socket: aiohttp.ClientWebSocketResponse,
        welcome: dict[str, Any],
        *,
        command_timeout: float,
        buffer_size: int,
    ) -> None:
        self.welcome = welcome
        """The ``details`` of the server's Welcome."""
        self._session = session
        self._socket = socket
        self._command_timeout = command_timeout
        self._inbox = _Inbox(buffer_size)
        self._waiting: dict[str, _Waiting] = {}
        self._ids = (f"cmd_{number}" for number in itertools.count(1))
        self._closing = asyncio.Lock()  # the session must outlive the closing handshake
        self._closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def connection_id(self) -> str:
        """What the server calls the connection."""
        return str(self.welcome["connection_id"])

    @property
    def user_id(self) -> str:
        """The user that the token speaks for."""
        return str(self.welcome["user_id"])

    @property
    def closed(self) -> "asyncio.Future[int]":
        """Done when the connection is; gives the WebSocket close code."""
        return asyncio.shield(self._closed)

    async def subscribe(self, *topics: str) -> dict[str, Any]:
        """Receive what is sent to these topics or patterns from now on.

        Returns:
            ``{"topics": [...], "active_subscriptions": number}``

        Raises:
            CommandFailed: a topic is malformed or denied; nothing has changed.
        """
        return _details(await self.command("Subscribe", {"topics": topics}))

    async def unsubscribe(self, *topics: str) -> dict[str, Any]:
        """Receive nothing more of these topics or patterns.

        Returns:
            ``{"topics": [...], "active_subscriptions": number}``
        """
        return _details(await self.command("Unsubscribe", {"topics": topics}))

    async def broadcast(
        self,
        topic: str,
        payload: Any,
        metadata: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002 - the protocol's word
    ) -> dict[str, Any]:
        """Send ``payload``, any JSON value, to all who subscribe to ``topic``.

        Returns:
            The Ack: ``{"message_id", "status", "recipients", ...}``.
        """
        data = {"topic": topic, "payload": payload}
        return (await self.command("Broadcast", data, id=id, metadata=metadata))[1]

    async def direct_message(
        self,
        user: str,
        payload: Any,
        metadata: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002 - the protocol's word
    ) -> dict[str, Any]:
        """Send ``payload``, any JSON value, to all connections of ``user``.

        Returns:
            The Ack: ``{"message_id", "status", "delivered_to", ...}``. Status ``queued`` means
            that the user is offline and will get the message later.

        Raises:
            CommandFailed: 404, the user is offline and the message has not been kept.
        """
        data = {"target_user": user, "payload": payload}
        return (await self.command("DirectMessage", data, id=id, metadata=metadata))[1]

    async def ping(self, timestamp: Any) -> dict[str, Any]:
        """Ask for a Pong and return its data; ``timestamp`` comes back as it was."""
        return _reply(await self.command("Ping", {"timestamp": timestamp}))

    async def set_presence(
        self, status: str, metadata: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Show others that this user is ``online``, ``away`` or ``busy``; return the Ack.

        Without ``metadata`` what was set before stays.
        """
        data: dict[str, Any] = {"status": status}
        if metadata is not None:
            data["metadata"] = dict(metadata)
        return (await self.command("Presence", data))[1]

    async def authenticate(self, token: str) -> dict[str, Any]:
        """Go on with a newer token of the same user.

        Returns:
            The AuthStatus: ``{"status": "renewed", "expires_at": seconds}``.
        """
        return _reply(await self.command("Authenticate", {"token": token}))

    async def command(
        self,
        type: str,  # noqa: A002 - the protocol's word
        data: Mapping[str, Any],
        *,
        id: str | None = None,  # noqa: A002 - the protocol's word
        metadata: Mapping[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Send any command and wait until the server is done with it.

        Args:
            type: What to do, such as ``History`` or ``X-CustomAction``.
            data: Its arguments.
            id: Names the command; one is made up if absent.
            metadata: Headers such as ``ttl`` and ``priority``.

        Returns:
            The data of the reply that precedes the Ack (a Status, a Pong, ...; ``None`` if there
            is none) and the data of the Ack.

        Raises:
            CommandFailed: the server answered with an Error.
            CommandTimeout: it did not answer in time.
            ConnectionClosed: the connection is closed, or was before the answer came.
            ValueError: a command with this id is still waiting for its answer.
        """
        name = next(self._ids) if id is None else id
        if name in self._waiting:
            raise ValueError(f"a command {name!r} is still waiting for its answer")
        message = {"type": type, "data": data, "id": name}
        if metadata is not None:
            message["metadata"] = metadata
        self._waiting[name] = waiting = _Waiting()
        try:
            async with asyncio.timeout(self._command_timeout):
                await self.send_raw(json.dumps(message, ensure_ascii=False, allow_nan=False))
                outcome = await waiting.outcome
        except TimeoutError as error:
            raise CommandTimeout(f"no answer to {type} in {self._command_timeout} s") from error
        finally:
            del self._waiting[name]
        if isinstance(outcome, RealtimeError):
            raise outcome
        return waiting.reply, outcome

    async def send_raw(self, text: str) -> None:
        """Send a frame as it is, for tests of what no well-behaved client would send.

        Raises:
            ConnectionClosed: the connection is closed.
        """
        try:
            await self._socket.send_str(text)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise ConnectionClosed(self._socket.close_code or ABNORMAL_CLOSURE) from error

    async def messages(self) -> AsyncIterator[Message]:
        """Yield what arrives and answers no waiting command, until the connection is closed.

        That is Broadcast, DirectMessage, Presence, Notification, AuthStatus, and Status and Error
        without a command. Binary frames come as ``{"type": "Binary", "data": the bytes}``.
        """
        while (message := await self._inbox.take()) is not None:
            yield message

    async def close(self) -> None:
        """Close the connection; what has arrived can still be read with ``messages()``."""
        async with self._closing:
            await self._socket.close()
        self._inbox.close()
        await asyncio.wait([self._reader])

    async def _read(self) -> None:
        violation = None
        try:
            async for frame in self._socket:
                if frame.type is aiohttp.WSMsgType.TEXT:
                    message = json.loads(frame.data)
                elif frame.type is aiohttp.WSMsgType.BINARY:
                    message = {"type": "Binary", "data": frame.data}
                else:
                    continue
                if not self._answers_a_command(message):
                    await self._inbox.put(message)
        except ValueError:
            violation = PROTOCOL_ERROR
        finally:
            await self._end(violation)

    def _answers_a_command(self, message: Message) -> bool:
        """Give the message to the command that waits for it, if there is one."""
        waiting = self._waiting.get(_answered_id(message))
        if waiting is None or waiting.outcome.done():
            return False
        match message:
            case {"type": "Ack", "data": dict(data)}:
                waiting.outcome.set_result(data)
            case {"type": "Error", "data": {"details": {"queued": True}} as data}:
                waiting.reply = data  # the user is offline; the Ack "queued" follows
            case {"type": "Error", "data": {"code": int(code), "message": str(text)} as data}:
                details = data.get("details") or {}
                waiting.outcome.set_result(CommandFailed(code, text, details))
            case _:
                waiting.reply = message.get("data")
        return True

    async def _end(self, violation: int | None) -> None:
        """Close what is still open and tell all who wait."""
        async with self._closing:
            await self._socket.close(code=violation or NORMAL_CLOSURE)
        await self._session.close()
        code = violation or self._socket.close_code or ABNORMAL_CLOSURE
        self._closed.set_result(code)
        for waiting in self._waiting.values():
            if not waiting.outcome.done():
                waiting.outcome.set_result(ConnectionClosed(code))
        self._inbox.close()


@dataclass
class _Waiting:
    """A command on its way: the reply so far, and how it ended."""

    reply: Any = None
    outcome: "asyncio.Future[dict[str, Any] | RealtimeError]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class _Inbox:
    """A bounded queue with an end; what is in it can still be taken after that."""

    def __init__(self, limit: int) -> None:
        self._room = asyncio.Semaphore(limit)
        self._queue: asyncio.Queue[Message | None] = asyncio.Queue()
        self._closed = False

    async def put(self, message: Message) -> None:
        """Wait for room; after the end the message is dropped."""
        await self._room.acquire()
        if not self._closed:
            self._queue.put_nowait(message)

    async def take(self) -> Message | None:
        """Wait for a message; None is the end."""
        message = await self._queue.get()
        if message is None:
            self._queue.put_nowait(None)  # for whoever asks next
        else:
            self._room.release()
        return message

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._queue.put_nowait(None)
            self._room.release()  # lets a waiting put() go


def _answered_id(message: Message) -> str:
    """The id of the command that this message answers, or an empty string."""
    match message:
        case {"id": str(id_)}:
            return id_
        case {"type": "Ack", "data": {"message_id": str(id_)}}:
            return id_
        case {"type": "Error", "data": {"details": {"message_id": str(id_)}}}:
            return id_
    return ""


def _reply(answer: tuple[Any, dict[str, Any]]) -> dict[str, Any]:
    reply, _ = answer
    if not isinstance(reply, dict):
        raise CommandFailed(500, "acknowledged without the reply that the protocol promises", {})
    return reply


def _details(answer: tuple[Any, dict[str, Any]]) -> dict[str, Any]:
    return dict(_reply(answer).get("details") or {})

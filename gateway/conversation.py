"""One client, from its Welcome to its close: reads frames, performs what the session decides."""

import asyncio
import time
import uuid
from dataclasses import replace
from typing import Any

import structlog
from aiohttp import WSMessage, WSMsgType, web

from gateway.compression import takes_compressed
from gateway.connection import Connection
from gateway.core.effects import Renew
from gateway.core.identity import Identity
from gateway.core.limits import READ_AT_ONCE, READ_BYTES
from gateway.core.replies import Reply, done
from gateway.core.session import Session
from gateway.core.wire import pong_frame
from gateway.expiry import Expiry
from gateway.limits import MAX_TEXT_BYTES, announced
from gateway.node import Node
from gateway.outbox import Outbox
from gateway.performer import Performer
from shared.clock import wall_clock_ms
from shared.errors import (
    BrokerUnavailable,
    Flooding,
    GoingAway,
    KeysUnavailable,
    MessageTooBig,
    NoWelcome,
    RateLimited,
    ServiceError,
    SlowConsumer,
    TokenRefused,
    Unauthorized,
)
from shared.messages import frames

log = structlog.get_logger()

HEARTBEAT_SECONDS = 25.0
WELCOME_SECONDS = 5.0
CLOSE_SECONDS = 2.0
FINISH_SECONDS = 2.0
"""For the answers to commands that are under way when the node stops."""

MAX_REASON_BYTES = 120
CONTROLS = frozenset({WSMsgType.PING, WSMsgType.PONG})
CLOSES = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED})

FEATURES = ("broadcast", "direct_message", "presence", "history", "acks", "binary", "extensions")


class Conversation:
    """One client, from its Welcome to its close."""

    def __init__(
        self,
        node: Node,
        request: web.Request,
        socket: web.WebSocketResponse,
        identity: Identity,
        transport: asyncio.Transport,
        *,
        confirms: bool,
    ) -> None:
        self._node = node
        self.socket = socket
        session = Session(identity, str(uuid.uuid4()), node.settings.max_subscriptions, node.limits)
        outbox = Outbox(transport, request.protocol, node.settings.max_outbox_bytes)
        self._connection = Connection(
            session,
            outbox,
            self._end,
            node.hooks,
            confirms=confirms,
            takes_compressed=takes_compressed(socket),
        )
        self._session = session
        self._performs: Performer | None = None
        self._expiry = Expiry(self, node.settings.jwt_leeway_seconds)
        self._ended: ServiceError | None = None
        self._messages = self._in_a_row = 0
        self._talking: asyncio.Timeout | None = None

    @property
    def _performer(self) -> Performer:
        """Made when there is something to perform: most clients say little, and many nothing."""
        if self._performs is None:
            self._performs = Performer(self._node, self._connection, self._renew, self._end)
        return self._performs

    async def run(self) -> None:
        """Converse until either side closes. Never raises for what a client does."""
        self._node.connections.add(self._connection)
        try:
            async with asyncio.timeout(None) as self._talking:
                if await self._welcome():
                    while (message := await self.socket.receive()).type not in CLOSES:
                        await self._hear(message)
                        if self._ended is not None:
                            return
                        if self._in_a_row >= READ_AT_ONCE:
                            self._in_a_row = 0
                            await asyncio.sleep(self._session.pause())
        except TimeoutError:
            if self._ended is None:
                raise
        finally:
            self._talking = None
            await self._stop()

    async def _stop(self) -> None:
        if isinstance(self._ended, GoingAway):
            await self._performer.finish(FINISH_SECONDS)
        self._expiry.forget()
        if self._performs is not None:
            self._performs.stop()
        self._leave()
        await self._close()
        self._connection.let_go()
        self._log()

    def _leave(self) -> None:
        node, connection = self._node, self._connection
        node.connections.remove(connection)
        node.directs.gone(connection)
        lost = node.subscriptions.remove(connection, self._session.patterns)
        node.uplink.lose(lost)
        if not isinstance(self._ended, GoingAway):  # the goodbye tells it of all at once
            node.uplink.closed(connection)

    # ---- Welcome ---------------------------------------------------------------------------------

    async def _welcome(self) -> bool:
        """Announce the connection, then write the Welcome (S7); return whether that was done."""
        try:
            async with asyncio.timeout(WELCOME_SECONDS):
                await self._announce()
        except TimeoutError:
            self._end(NoWelcome())
            return False
        if self._ended is not None:
            return False
        self._connection.reply([frames.status("connected", self._welcome_details())])
        self._connection.welcomed = True
        self._node.directs.released(self._connection)
        self._expiry.watch(self._session.identity)
        return True

    async def _announce(self) -> None:
        while True:
            await self._node.membership.wait_ready()
            try:
                await self._node.uplink.opened(self._connection).confirmed
            except BrokerUnavailable:
                await asyncio.sleep(0.1)  # a new boot has begun, or will
            else:
                return

    def _welcome_details(self) -> dict[str, Any]:
        identity = self._session.identity
        return {
            "connection_id": self._connection.id,
            **frames.moment("server_time", wall_clock_ms()),
            "protocol_version": frames.PROTOCOL_VERSION,
            "features": FEATURES,
            "limits": announced(self._node.settings),
            "heartbeat_interval": int(HEARTBEAT_SECONDS),
            "user_id": identity.user_id,
            "node_id": self._node.membership.node_id,
            **frames.moment("expires_at", int(identity.expires_at * 1000)),
        }

    # ---- reading ---------------------------------------------------------------------------------

    async def _hear(self, message: WSMessage) -> None:
        self._messages += 1
        self._in_a_row += 1
        if message.type is WSMsgType.TEXT:
            await self._receive(message.data)
        elif message.type is WSMsgType.BINARY:
            await self._receive_binary(message.data)
        elif message.type in CONTROLS:
            self._control(message)

    def _control(self, message: WSMessage) -> None:
        """Answer a ping, unless there are too many of them (RFC 6455 5.5.2)."""
        try:
            self._session.take(1, len(message.data), time.monotonic())
        except Flooding as error:
            self._end(error)
        except RateLimited:  # one that is left out may be, for another follows
            pass
        else:
            if message.type is WSMsgType.PING:
                self._connection.write(pong_frame(message.data))

    async def _receive(self, text: str) -> None:
        size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        self._count(size)
        if size > MAX_TEXT_BYTES:
            self._end(_too_big(MAX_TEXT_BYTES))
        else:
            await self._performer.receive(text, size)

    async def _receive_binary(self, frame: bytes) -> None:
        self._count(len(frame))
        if len(frame) > (most := self._node.settings.max_binary_bytes):
            self._end(_too_big(most))
        else:
            await self._performer.receive_binary(frame)

    def _count(self, size: int) -> None:
        self._in_a_row += size // READ_BYTES
        self._node.metrics.received_bytes.inc(size)

    # ---- the end ---------------------------------------------------------------------------------

    def _end(self, error: ServiceError, command_id: str | None = None) -> None:
        """Write the error and read nothing more; the close with its code follows."""
        if isinstance(error, SlowConsumer):
            self._connection.abort()  # also when it is being closed: it does not read that, either
        if self._ended is not None:
            return
        self._ended = error
        self._connection.finish()
        self._node.metrics.close(error)
        if isinstance(error, SlowConsumer):
            log.info("too slow", action="abort", connection=self._connection.id)
            return
        self._connection.reply(self._performer.error(error, command_id).frames)
        if self._talking is not None:
            self._talking.reschedule(0)  # to cancel the task would drop the socket without a close

    async def _close(self) -> None:
        """Close with the error's code, and wait for the client to answer (RFC 6455 7.1.2)."""
        error = self._ended
        if error is None or isinstance(error, SlowConsumer):
            return
        code = error.close_code or 1011
        reason = error.message.encode()[:MAX_REASON_BYTES]
        try:
            async with asyncio.timeout(2 * CLOSE_SECONDS):
                await self.socket.close(code=code, message=reason)
        except TimeoutError:  # it waits for a client that does not read
            self._connection.abort()

    def _log(self) -> None:
        connection, error = self._connection, self._ended
        log.info(
            "connection closed",
            action="close",
            connection=connection.id,
            user=connection.user_id,
            code=self.socket.close_code if error is None else error.close_code or 1011,
            seconds=round(time.monotonic() - connection.opened_at, 1),
            messages=self._messages,
            patterns=len(self._session.patterns),
        )

    # ---- the token's end -------------------------------------------------------------------------

    def expire(self) -> None:
        """Be over: the token is."""
        self._end(Unauthorized("The token has expired"))

    def expires_soon(self) -> None:
        """Tell the client that its token will soon be over."""
        expires_at_ms = int(self._session.identity.expires_at * 1000)
        self._connection.reply([frames.auth_status("token_expiring", expires_at_ms)])

    def _renew(self, effect: Renew) -> Reply:
        try:
            identity = self._node.verifier.renew(effect.token, self._connection.user_id)
        except (KeysUnavailable, TokenRefused) as error:
            return self._performer.error(error, effect.id)
        left = self._session.renewed(identity)
        self._expiry.watch(identity)
        self._node.uplink.opened(self._connection)  # its owner knows which tokens are revoked
        expires_at_ms = int(identity.expires_at * 1000)
        renewed = done(effect.id, frames.auth_status("renewed", expires_at_ms, effect.id))
        return replace(renewed, afterwards=lambda: self._performer.renewed(left))


def _too_big(limit: int) -> MessageTooBig:
    return MessageTooBig(field="message", reason=f"longer than {limit} bytes", limit=limit)

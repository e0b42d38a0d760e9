"""The WebSocket endpoint: checks the request, completes the upgrade, has the client converse."""

import asyncio
import logging
import time
from urllib.parse import parse_qs

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage

from gateway.conversation import (
    CLOSE_SECONDS,
    HEARTBEAT_SECONDS,
    Conversation,
)
from gateway.core.admission import client_address, is_trusted
from gateway.core.handshake import Offer, origin_allowed, read_offer
from gateway.core.identity import Identity
from gateway.limits import largest_message
from gateway.node import Node
from gateway.responses import refusal
from shared.errors import (
    GoingAway,
    KeysUnavailable,
    OriginRefused,
    ServiceError,
    TooManyConnections,
    Unauthorized,
)
from shared.messages import frames

# It would log the subprotocols that a client offers, and with them its token.
logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Whether a line may be logged: a request that cannot be parsed may hold a token, too.

    And a client may go at any moment; before its upgrade nothing needs to end with it.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, BadHttpMessage | ConnectionError)


logging.getLogger("aiohttp.server").addFilter(_is_worth_a_line)

NODE = web.AppKey("node", Node)


async def websocket(request: web.Request) -> web.StreamResponse:
    """Serve ``/ws``: check the request, complete the upgrade, converse until the close."""
    node = request.app[NODE]
    try:
        behind_proxy = _admitted(request, node)
    except ServiceError as error:
        return _refused(error, node)
    try:
        async with node.turnstile:
            await asyncio.sleep(0)
        conversation = await _upgraded(request, node)
        if not isinstance(conversation, Conversation):
            return conversation
        await conversation.run()
        return conversation.socket
    finally:
        if behind_proxy:
            node.admission.leave(behind_proxy)


def _admitted(request: web.Request, node: Node) -> str:
    """Check that there is room for one more; return whose address is counted now, if any is.

    Whoever comes without a proxy is counted already (door.py).

    Raises:
        ServiceError: there is none.
    """
    if node.membership.draining:  # over a connection that was kept alive
        raise GoingAway
    peer = request.remote or ""
    forwarded_for = request.headers.getall("X-Forwarded-For", [])
    address = client_address(peer, forwarded_for, node.admission.trusted)
    node.admission.ask(address, len(node.connections), time.monotonic())
    if not is_trusted(peer, node.admission.trusted):
        return ""
    node.admission.enter(address)
    return address


async def _upgraded(request: web.Request, node: Node) -> Conversation | web.StreamResponse:
    """Check whose request it is and complete the upgrade; return a refusal if it is nobody's."""
    query = _query(request)
    try:
        offer = _checked_offer(request, query, node)
    except ServiceError as error:
        return _refused(error, node)
    try:
        identity = node.verifier.verify(offer.token or "")
        _require_room_for(identity, node)
    except KeysUnavailable as error:
        return _refused(error, node)
    except (Unauthorized, TooManyConnections) as error:
        node.metrics.refusal(error)
        if offer.token is None or "Origin" not in request.headers:
            return refusal(error)
        return await _upgrade_and_close(request, _socket(offer, node, compress=False), error)
    socket = _socket(offer, node, compress=node.settings.compression)
    try:
        await socket.prepare(request)
    except web.HTTPException as error:
        node.metrics.refusal(error)
        raise
    node.metrics.accepts.inc()
    if request.transport is None:
        return socket
    confirms = query.get("acks", [""])[0] == "1"
    return Conversation(node, request, socket, identity, request.transport, confirms=confirms)


def _require_room_for(identity: Identity, node: Node) -> None:
    """Refuse at once who has enough connections here; presence knows of those elsewhere, too."""
    most = node.settings.max_user_connections
    if most and len(node.connections.of_user(identity.user_id)) >= most:
        raise TooManyConnections(limit=most)


def _query(request: web.Request) -> dict[str, list[str]]:
    """Parse the query; ``request.query`` would keep what it found, and the token with it."""
    return parse_qs(request.rel_url.raw_query_string, keep_blank_values=True)


def _refused(error: ServiceError, node: Node) -> web.Response:
    node.metrics.refusal(error)
    response = refusal(error)
    if isinstance(error, GoingAway):
        response.force_close()
    return response


def _checked_offer(request: web.Request, query: dict[str, list[str]], node: Node) -> Offer:
    headers = request.headers
    development = node.settings.mode == "development"
    origin, allowed = headers.get("Origin"), node.settings.allowed_origins
    if not origin_allowed(origin, request.host, allowed, development=development):
        raise OriginRefused
    return read_offer(
        query.get("token", []),
        headers.getall("Authorization", []),
        headers.getall("Sec-WebSocket-Protocol", []),
        query_tokens=node.settings.query_tokens,
    )


def _socket(offer: Offer, node: Node, *, compress: bool) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_SECONDS,
        autoping=False,  # so that pings are counted, too
        compress=compress,
        max_msg_size=largest_message(node.settings) + 1,  # whatever has as much is refused
        timeout=CLOSE_SECONDS,
    )
    if offer.subprotocol:  # aiohttp would read only the first of several header lines
        socket.headers["Sec-WebSocket-Protocol"] = offer.subprotocol
    return socket


async def _upgrade_and_close(
    request: web.Request, socket: web.WebSocketResponse, error: ServiceError
) -> web.StreamResponse:
    """Tell a browser, which cannot read the status of a refused upgrade (S2)."""
    await socket.prepare(request)
    await socket.send_str(frames.error(error).decode())
    await socket.close(code=error.close_code or 1008, message=error.message.encode())
    return socket

"""What is agreed on with clients that take compressed messages (permessage-deflate, RFC 7692).

No message refers to one before it, in neither direction: so a broadcast is compressed once for all
receivers, and nothing is kept for each. aiohttp must not compress on such a socket: it is asked to
agree, and writes nothing but pings and closes, which are never compressed.
"""

from aiohttp import hdrs, web

from gateway.core.wire import WINDOW_BITS

AGREED = (
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
    f"server_max_window_bits={WINDOW_BITS}"
)


async def agree(_: web.BaseRequest, response: web.StreamResponse) -> None:
    """Put into the response to an upgrade what we keep to, where aiohttp has accepted an offer."""
    if hdrs.SEC_WEBSOCKET_EXTENSIONS not in response.headers:
        return
    if isinstance(response, web.WebSocketResponse) and takes_compressed(response):
        response.headers[hdrs.SEC_WEBSOCKET_EXTENSIONS] = AGREED
    else:
        del response.headers[hdrs.SEC_WEBSOCKET_EXTENSIONS]


def takes_compressed(socket: web.WebSocketResponse) -> bool:
    """Whether a client offered that, with a window as large as ours."""
    return int(socket.compress) >= WINDOW_BITS

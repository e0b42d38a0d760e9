"""Errors as HTTP responses, in the protocol's shape."""

from aiohttp import web

from shared.errors import ServiceError
from shared.messages import frames

UNAUTHORIZED = 401


def refusal(error: ServiceError) -> web.Response:
    """Return the response that says what is wrong (S2; RFC 6750 section 3, RFC 9110 10.2.3)."""
    headers = {}
    if error.reply_code == UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if (wait_ms := error.details.get("retry_after_ms")) is not None:
        headers["Retry-After"] = str(-(-wait_ms // 1000))
    return web.Response(
        status=error.reply_code,
        body=frames.error(error),
        content_type="application/json",
        headers=headers,
    )

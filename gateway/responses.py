"""Errors as HTTP responses, in the protocol's shape."""

from aiohttp import web

from shared.errors import ServiceError
from shared.messages import frames

UNAUTHORIZED = 401


def retry_after(error: ServiceError) -> int:
    """Return in how many whole seconds to come again after an error that tells it."""
    wait_ms: int = error.details["retry_after_ms"]
    return -(-wait_ms // 1000)


def refusal(error: ServiceError) -> web.Response:
    """Return the response that says what is wrong (S2; RFC 6750 section 3, RFC 9110 10.2.3)."""
    headers = {}
    if error.reply_code == UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if "retry_after_ms" in error.details:
        headers["Retry-After"] = str(retry_after(error))
    return web.Response(
        status=error.reply_code,
        body=frames.error(error),
        content_type="application/json",
        headers=headers,
    )

"""Everything that can go wrong for a client.

RealtimeError
├── Unreachable          nobody speaks the protocol at this address
├── ConnectionRefused    the server does not let us in; says why
├── ConnectionClosed     it was open, and is not any more
├── CommandFailed        the server answered with an Error
└── CommandTimeout       the server did not answer in time; a TimeoutError too
"""

from collections.abc import Mapping
from typing import Any


class RealtimeError(Exception):
    """The base of all errors of this client."""


class Unreachable(RealtimeError):
    """No real-time server answers at this URL."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        super().__init__(f"no real-time server at {url}: {reason}")


class ConnectionRefused(RealtimeError):
    """The server refused the connection.

    ``code`` is the HTTP status, the ``code`` of the Error that came instead of the Welcome, or,
    without either, the WebSocket close code.
    """

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"connection refused: {message} ({code})")


class ConnectionClosed(RealtimeError):
    """The connection is closed; ``code`` is the WebSocket close code."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"the connection is closed ({code})")


class CommandFailed(RealtimeError):
    """The server answered a command with an Error."""

    def __init__(self, code: int, message: str, details: Mapping[str, Any]) -> None:
        self.code = code
        self.message = message
        self.details = dict(details)
        super().__init__(f"{message} ({code})")


class CommandTimeout(RealtimeError, TimeoutError):
    """The server did not answer a command in time; it may have been carried out."""

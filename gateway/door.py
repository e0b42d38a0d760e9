"""Where sockets come in: counted by address before a byte of them is read (W13, W15)."""

import asyncio
import socket
from typing import cast

from gateway.core.admission import Admission
from gateway.metrics import Metrics
from gateway.responses import retry_after
from shared.errors import ServiceError

HIGH_WATER_BYTES = 65_536
"""Held back for a client, from here on it counts as paused; with TLS that were else 512 KiB."""

READ_BYTES = 65_536
"""What the kernel may hold of a client that sends faster than it is read. All of it may come in one
read, and is taken apart in one go: more would keep the others waiting."""

REFUSAL = (
    "HTTP/1.1 {code} Refused\r\nRetry-After: {seconds}\r\n"
    "Content-Length: 0\r\nConnection: close\r\n\r\n"
)


class Door(asyncio.Protocol):
    """Stands before the protocol of one socket, and is asked only when it opens and when it goes.

    What is read goes to the protocol behind it at once: the event loop calls its methods.
    """

    __slots__ = (
        "_admission",
        "_behind",
        "_entered",
        "_metrics",
        "_peer",
        "data_received",
        "eof_received",
        "pause_writing",
        "resume_writing",
    )

    def __init__(self, behind: asyncio.Protocol, admission: Admission, metrics: Metrics) -> None:
        self._behind = behind
        self._admission = admission
        self._metrics = metrics
        self._entered = False
        self._peer = ""
        self.data_received = behind.data_received  # type: ignore[method-assign]  # no call between
        self.eof_received = behind.eof_received  # type: ignore[method-assign]  # likewise
        self.pause_writing = behind.pause_writing  # type: ignore[method-assign]  # likewise
        self.resume_writing = behind.resume_writing  # type: ignore[method-assign]  # likewise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the socket in, or say why not and close it."""
        opened = cast("asyncio.Transport", transport)
        opened.set_write_buffer_limits(HIGH_WATER_BYTES)
        opened.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BYTES)
        peer = opened.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        try:
            self._admission.connect(self._peer)
        except ServiceError as error:
            self._metrics.refusal(error)
            _refuse(opened, error)
        else:
            self._entered = True
            self._behind.connection_made(opened)

    def connection_lost(self, error: Exception | None) -> None:
        """Let go of it."""
        if self._entered:
            self._admission.disconnect(self._peer)
            self._behind.connection_lost(error)


def _refuse(transport: asyncio.Transport, error: ServiceError) -> None:
    transport.pause_reading()
    transport.write(REFUSAL.format(code=error.reply_code, seconds=retry_after(error)).encode())
    transport.close()

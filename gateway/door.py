"""Where sockets come in: counted by address before a byte of them is read (W13, W15)."""

import asyncio
from typing import cast

from gateway.core.admission import Admission
from gateway.metrics import Metrics
from gateway.tls import Certificate
from shared.errors import ServiceError

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
        "_certificate",
        "_early",
        "_entered",
        "_metrics",
        "_opened",
        "_peer",
        "data_received",
        "eof_received",
        "pause_writing",
        "resume_writing",
    )

    def __init__(
        self,
        behind: asyncio.Protocol,
        admission: Admission,
        metrics: Metrics,
        certificate: Certificate | None,
    ) -> None:
        self._behind = behind
        self._admission = admission
        self._metrics = metrics
        self._certificate = certificate
        self._entered = self._opened = False
        self._peer = ""
        self._early: list[bytes] = []
        self.data_received = self._early.append if certificate else behind.data_received  # type: ignore[method-assign, assignment]  # no call between
        self.eof_received = behind.eof_received  # type: ignore[method-assign]  # likewise
        self.pause_writing = behind.pause_writing  # type: ignore[method-assign]  # likewise
        self.resume_writing = behind.resume_writing  # type: ignore[method-assign]  # likewise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the socket in, or say why not and close it."""
        socket = cast("asyncio.Transport", transport)
        peer = socket.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        try:
            self._admission.connect(self._peer)
        except ServiceError as error:
            self._metrics.refusal(error)
            self._refuse(socket, error)
            return
        self._entered = True
        if self._certificate is None:
            self._open(socket)
        else:
            self._certificate.secure(socket, self, self._early, self._open)

    def _open(self, transport: asyncio.Transport) -> None:
        self._opened = True
        self._behind.connection_made(transport)
        self.data_received = self._behind.data_received  # type: ignore[method-assign]  # likewise
        for data in self._early:
            self.data_received(data)
        self._early.clear()

    def connection_lost(self, error: Exception | None) -> None:
        """Let go of it."""
        if self._entered:
            self._entered = False
            self._admission.disconnect(self._peer)
        if self._opened:
            self._behind.connection_lost(error)

    def _refuse(self, transport: asyncio.Transport, error: ServiceError) -> None:
        transport.pause_reading()
        if self._certificate is None:  # else it would take a handshake to say so
            seconds = -(-error.details["retry_after_ms"] // 1000)
            transport.write(REFUSAL.format(code=error.reply_code, seconds=seconds).encode())
        transport.close()

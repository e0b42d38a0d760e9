"""The one way to a client's socket."""

import asyncio
import socket
import struct
from enum import Enum
from typing import Protocol

from shared.errors import SlowConsumer

LAGGING = 4
"""From this part of what may be held back on, a client is spared what it can be (X3)."""

CAUGHT_UP = 16
"""Up to this part of what may be held back, a client has caught up."""

DRAIN_SECONDS = 10.0
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: what the kernel holds is dropped, too; else it keeps that for minutes."""


class Pausable(Protocol):
    """The part of aiohttp's protocol that knows whether the transport is paused."""

    @property
    def writing_paused(self) -> bool:
        """Whether the kernel takes no more for now."""


class Written(Enum):
    """What became of a frame."""

    SENT = "sent"
    """The socket has it."""

    HELD = "held"
    """The transport has it, until the client reads on."""

    GONE = "gone"
    """There is no socket any more."""


SENT, HELD, GONE = Written  # an attribute of the class takes longer to find


class Outbox:
    """Finished frames in, bytes on the wire, order kept. Nothing here waits.

    While the client reads too slowly the transport holds them, up to ``limit`` bytes. One that does
    not lag is given one write of any size: no more is ever held than ``limit``, or a quarter of it
    and one write.
    """

    def __init__(self, transport: asyncio.Transport, protocol: Pausable, limit: int) -> None:
        self.limit = limit
        self._transport = transport
        self._protocol = protocol
        self._written = 0

    def write(self, frames: bytes) -> Written:
        """Hand over whole frames; return what became of them.

        Raises:
            SlowConsumer: more than ``limit`` would be held back.
        """
        transport = self._transport
        if transport.is_closing():
            return GONE
        held = transport.get_write_buffer_size()
        if held and held + len(frames) > self.limit and self.lags:
            raise SlowConsumer
        try:
            transport.write(frames)
        except RuntimeError:  # uvloop, after an abort
            return GONE
        self._written += len(frames)
        if not transport.get_write_buffer_size():
            return SENT
        return HELD if self._protocol.writing_paused else SENT

    async def drained(self) -> None:
        """Wait until the client has caught up.

        Raises:
            SlowConsumer: it does not read.
        """
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self.caught_up:  # noqa: ASYNC110 - the transport tells aiohttp, which tells only its own writer
                    await asyncio.sleep(0.01)
        except TimeoutError as error:
            raise SlowConsumer from error

    @property
    def held_back(self) -> int:
        """How many bytes the transport holds that the client has not read."""
        return self._transport.get_write_buffer_size()

    @property
    def taken(self) -> int:
        """How many bytes the client, or the kernel for it, has ever taken."""
        return self._written - self._transport.get_write_buffer_size()

    @property
    def lags(self) -> bool:
        """Whether the transport holds so much that the client should be spared what it can be."""
        return self._transport.get_write_buffer_size() * LAGGING > self.limit

    @property
    def caught_up(self) -> bool:
        """Whether the transport holds little or nothing any more."""
        return self._transport.get_write_buffer_size() * CAUGHT_UP <= self.limit

    def abort(self) -> None:
        """Reset the socket, whatever it holds; a close would wait for the client to read."""
        if (end := self._transport.get_extra_info("socket")) is not None:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._transport.abort()

"""The one way to a client's socket."""

import asyncio
from enum import Enum
from typing import Protocol

from shared.errors import SlowConsumer

OUTBOX_MESSAGES = 16
"""Messages of the largest size that a client may lag behind before it is dropped as slow."""

LAGGING_BYTES = 262_144
"""From here on a client is spared broadcasts of low priority (X3)."""

DRAINED_BYTES = 65_536
DRAIN_SECONDS = 10.0


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

    While the client reads too slowly the transport holds them, up to ``limit`` bytes.
    """

    def __init__(self, transport: asyncio.Transport, protocol: Pausable, limit: int) -> None:
        self.limit = limit
        self._transport = transport
        self._protocol = protocol

    def write(self, frames: bytes) -> Written:
        """Hand over whole frames; return what became of them.

        Raises:
            SlowConsumer: more than ``limit`` would be held back.
        """
        transport = self._transport
        if transport.is_closing():
            return GONE
        held = transport.get_write_buffer_size()
        if held and held + len(frames) > self.limit:
            raise SlowConsumer
        try:
            transport.write(frames)
        except RuntimeError:  # uvloop, after an abort
            return GONE
        if not transport.get_write_buffer_size():
            return SENT
        return HELD if self._protocol.writing_paused else SENT

    async def drained(self) -> None:
        """Wait until the client has read most of what was written.

        Raises:
            SlowConsumer: it does not read.
        """
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._transport.get_write_buffer_size() > DRAINED_BYTES:  # noqa: ASYNC110 - the transport tells aiohttp, which tells only its own writer
                    await asyncio.sleep(0.01)
        except TimeoutError as error:
            raise SlowConsumer from error

    @property
    def held_back(self) -> int:
        """How many bytes the transport holds that the client has not read."""
        return self._transport.get_write_buffer_size()

    @property
    def lags(self) -> bool:
        """Whether the transport holds so much that the client should be spared what it can be."""
        return self._transport.get_write_buffer_size() > LAGGING_BYTES

    def abort(self) -> None:
        """Drop the socket and all it holds; a close would wait for the client to read."""
        self._transport.abort()

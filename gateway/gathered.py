"""Broadcasts on their way to sockets: each frame is built once, compressed at most once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.core.wire import compressed_frame
from shared.messages.deliveries import TopicDelivery

if TYPE_CHECKING:
    from gateway.connection import Connection


@dataclass(eq=False, slots=True)
class Gathered:
    """A broadcast on its way to sockets, with others that go on the same write."""

    delivery: TopicDelivery
    frame: bytes
    given: "set[Connection]"
    """Who wanted it when it came."""

    told: Callable[[int], None]
    early: "set[Connection]" = field(default_factory=set)
    """Who has it before the others, for something else had to be written."""

    lacking: int = 0
    """How many sockets have it not (A5)."""

    saved: int = 0
    """Bytes that were not written, for the frame was compressed."""

    _compressed: bytes = b""

    @property
    def compressed(self) -> bytes:
        """The frame for clients that take such; made when the first of them is given it."""
        if not self._compressed:
            self._compressed = compressed_frame(self.frame)
        return self._compressed


class Bundle:
    """Broadcasts that go in one write, joined once for all whom they are given."""

    __slots__ = ("_compressed", "frames", "of")

    def __init__(self, gathered: list[Gathered]) -> None:
        self.of = gathered
        self.frames = b"".join([one.frame for one in gathered])
        self._compressed = b""

    @property
    def compressed(self) -> bytes:
        """All of them for a client that takes compressed frames."""
        if not self._compressed:
            self._compressed = b"".join([one.compressed for one in self.of])
        return self._compressed

"""PURE: messages as whole WebSocket frames, for many sockets at once."""

import zlib

from shared.messages import binary, frames
from shared.messages.deliveries import DirectDelivery, TopicDelivery

_TEXT = 0x81
_BINARY = 0x82
_PONG = 0x8A
_SHORT = 126
_MEDIUM = 65_536

WINDOW_BITS = 12
"""How far back a compressed message may refer, in itself. More gains little, and some clients ask
for no more."""

_LEVEL = 1
_MEMORY_LEVEL = 5
_COMPRESSED = 0x40
_WORTH_IT = range(512, 131_072)
"""Sizes of frames to compress: a smaller one gains little, a larger one would hold up the others.

All text is within."""


def text_frame(payload: bytes) -> bytes:
    """Return a whole unmasked WebSocket text message (RFC 6455 section 5.2).

    A server's frames are not masked, so one frame serves every receiver.
    """
    return _frame(_TEXT, payload)


def binary_frame(payload: bytes) -> bytes:
    """Return a whole unmasked WebSocket binary message."""
    return _frame(_BINARY, payload)


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a WebSocket ping, which has at most 125 bytes (RFC 6455 5.5.3)."""
    return _frame(_PONG, payload)


def compressed_frame(frame: bytes) -> bytes:
    """Return a frame with its payload compressed (RFC 7692), or as it is where that gains nothing.

    It refers to no message before it, so one frame serves every receiver that takes such.
    """
    if len(frame) not in _WORTH_IT:
        return frame
    start = 2 if frame[1] < _SHORT else 4 if frame[1] == _SHORT else 10
    run = zlib.compressobj(_LEVEL, zlib.DEFLATED, -WINDOW_BITS, _MEMORY_LEVEL)
    payload = run.compress(memoryview(frame)[start:]) + run.flush(zlib.Z_SYNC_FLUSH)
    compressed = _frame(frame[0] | _COMPRESSED, payload[:-4])  # 00 00 ff ff is left out
    return min(frame, compressed, key=len)


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < _SHORT:
        return bytes((first, size)) + payload
    if size < _MEDIUM:
        return bytes((first, 0x7E)) + size.to_bytes(2, "big") + payload
    return bytes((first, 0x7F)) + size.to_bytes(8, "big") + payload


def topic_frame(delivery: TopicDelivery) -> bytes:
    """Return what every receiver of a broadcast is written."""
    if delivery.form.is_binary:
        return binary_frame(binary.topic_delivery(delivery))
    return text_frame(frames.topic_delivery(delivery))


def direct_frame(delivery: DirectDelivery) -> bytes:
    """Return what the connections of a direct message's user are written."""
    if delivery.form.is_binary:
        return binary_frame(binary.direct_delivery(delivery))
    return text_frame(frames.direct_delivery(delivery))

"""PURE: messages as whole WebSocket frames, for many sockets at once."""

from shared.messages import binary, frames
from shared.messages.deliveries import DirectDelivery, TopicDelivery

_TEXT = 0x81
_BINARY = 0x82
_PONG = 0x8A
_SHORT = 126
_MEDIUM = 65_536


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

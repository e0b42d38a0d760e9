"""Binary messages as a client of the service builds and takes them apart, by hand."""

import hashlib
import json
from typing import Any, NamedTuple

TYPES = {
    0x01: "broadcast",
    0x02: "direct_message",
    0x03: "file_transfer",
    0x04: "stream_data",
    0x81: "broadcast",
    0x82: "direct_message",
    0x83: "file_transfer",
    0x84: "stream_data",
}


def plain(kind: int, payload: bytes) -> bytes:
    """Return a message as the protocol reference describes it."""
    return bytes((kind,)) + len(payload).to_bytes(4, "big") + payload


def headed(header: Any, body: bytes = b"", kind: int = 0x83) -> bytes:
    """Return a message with a header; one that is bytes already is taken as it is."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return plain(kind, len(text).to_bytes(2, "big") + text + body)


class Unpacked(NamedTuple):
    """A message with a header."""

    kind: int
    header: dict[str, Any]
    body: bytes


def unpacked(frame: bytes) -> Unpacked:
    """Take a message apart that the service has built."""
    length = int.from_bytes(frame[5:7], "big")
    assert int.from_bytes(frame[1:5], "big") == len(frame) - 5
    return Unpacked(frame[0], json.loads(frame[7 : 7 + length]), frame[7 + length :])


def checksum(payload: bytes) -> str:
    """Return what acknowledges a payload."""
    return f"sha256:{hashlib.sha256(payload).hexdigest()}"


def file_chunks(content: bytes, size: int, **header: Any) -> list[bytes]:
    """Return a file as messages of one transfer."""
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    last = len(parts) - 1
    return [
        headed({**header, "id": f"part-{seq}", "seq": seq, "final": seq == last}, part)
        for seq, part in enumerate(parts)
    ]

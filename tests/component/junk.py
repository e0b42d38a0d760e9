"""PURE: what a client may put on its socket, by a seed: good, bad and broken."""

import json
import random
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.messages.client import BODIES, SERVER_ONLY

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
MASKED_WITH_ZEROS = bytes(4)
TEXT_LIMIT = 65_536
FRAME_LIMIT = 1_048_576

VALUES = [
    None, True, False, 0, -1, 2**53, 2**64, 10**40, 0.5, 1e308, "", "a", "*", "#", "$SYS", "fuzz.a",
    "presence.*", "é\0\u2028", "x" * 300, "nobody", [], [[]], ["fuzz.a"], ["#.a"], [None], {},
    {"fuzz.a": {"since": 0}}, {"a": {"a": {}}}, {"ttl": 0, "echo": False}, "low", "online",
]  # fmt: skip
"""What may stand in any field, right or wrong."""


def frame(opcode: int, body: bytes, *, first: int = 0x80, size: int | None = None) -> bytes:
    """Return a frame (RFC 6455 section 5.2) that claims to have ``size`` bytes.

    ``first`` are the bits beside the opcode: 0x80 is final, 0x70 is reserved.
    """
    size = len(body) if size is None else size
    if size < 126:
        head = bytes((first | opcode, 0x80 | size))
    elif size < 65_536:
        head = bytes((first | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + MASKED_WITH_ZEROS + body


def text(body: str) -> bytes:
    """Return a text frame."""
    return frame(TEXT, body.encode())


@dataclass(frozen=True)
class Bulk:
    """Frames to be sent at once."""

    frames: bytes
    count: int
    leaves: bool = False
    """Whether the client goes in the middle of the last one, without a word."""


class Junk:
    """An endless supply for one client, who may speak to these users and renew this token."""

    def __init__(self, seed: str, users: list[str], token: str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret: the seed gives it again
        self._users = users
        self._token = token

    def bulk(self, count: int) -> Bulk:
        """Return so many frames; now and then the last one ends the conversation."""
        pick = self._random
        usual: list[tuple[int, Callable[[], bytes]]] = [
            (45, lambda: text(json.dumps(self._command()))),
            (25, lambda: text(self._damaged())),
            (8, lambda: text(self._scrap())),
            (3, lambda: text("[" * pick.randrange(40) + "]" * pick.randrange(40))),
            (8, lambda: frame(BINARY, self._binary())),
            (6, lambda: frame(pick.choice([PING, PONG]), pick.randbytes(pick.randrange(126)))),
            (5, lambda: self._fragmented(json.dumps(self._command()).encode())),
        ]
        weights, makers = zip(*usual, strict=True)
        frames = [make() for make in pick.choices(makers, weights, k=count - 1)]
        if pick.random() < 0.03:
            half = frame(TEXT, b'{"type":', size=pick.randrange(9, 60_000))
            return Bulk(b"".join([*frames, half]), count, leaves=True)
        last = pick.choice(self._endings()) if pick.random() < 0.2 else makers[0]
        return Bulk(b"".join([*frames, last()]), count)

    # ---- commands --------------------------------------------------------------------------------

    def _command(self) -> dict[str, Any]:
        """Return a good command, or nearly."""
        pick = self._random
        name = pick.choice([*BODIES, "Broadcast", "DirectMessage", "Subscribe", "X-Fuzz"])
        message: dict[str, Any] = {"type": name, "data": self._data(name)}
        if pick.random() < 0.7:
            message["id"] = f"id-{pick.randrange(10_000)}"
        if pick.random() < 0.2:
            message["metadata"] = {"ttl": pick.choice([0, 1.5, 60]), "priority": "low", "odd": [1]}
        if pick.random() < 0.1:
            message["timestamp"] = pick.random()
        return message

    def _data(self, name: str) -> dict[str, Any]:
        pick = self._random
        topic = f"fuzz.{pick.randrange(8)}"
        return {
            "Subscribe": {"topics": [topic, pick.choice(["fuzz.*", "presence.nobody"])]},
            "Unsubscribe": {"topics": [topic, "fuzz.*"]},
            "Broadcast": {"topic": topic, "payload": pick.choice(VALUES)},
            "DirectMessage": {"target_user": pick.choice(self._users), "payload": topic},
            "BinaryRoute": pick.choice([{"topic": topic}, {"target_user": "nobody"}, {}]),
            "Presence": {"status": "busy", "metadata": {"odd": pick.choice(VALUES)}},
            "Authenticate": {"token": pick.choice([self._token, self._token[:-2], "a.b.c"])},
            "History": {"topic": topic, "limit": 3},
            "PresenceQuery": {"users": self._users},
            "Ack": {"message_ids": [f"dm_{pick.randrange(10)}"]},
            "Register": {"types": ["X-Fuzz"]},
            "Unregister": {"types": ["X-Fuzz"]},
            "Reply": {"to": f"extension_{pick.randrange(10)}", "data": pick.choice(VALUES)},
            "Batch": {"operations": [{"type": "Ping", "data": {}}, {"type": "?"}]},
        }.get(name, {})

    def _damaged(self) -> str:
        """Return a command with one thing changed."""
        pick = self._random
        message = self._command()
        match pick.randrange(5):
            case 0:
                message[pick.choice(["type", "data", "id", "metadata", "timestamp"])] = pick.choice(
                    VALUES
                )
            case 1:
                field = pick.choice([*message["data"], "topic"])
                message["data"][field] = pick.choice(VALUES)
            case 2:
                message["data"] = dict(list(message["data"].items())[1:])
            case 3:
                message["type"] = pick.choice([*SERVER_ONLY, "ping", "X-", "X-Fuzz", "Dance"])
            case _:
                written = json.dumps(message)
                at = pick.randrange(len(written))
                return written[:at] + pick.choice(string.printable) + written[at + 1 :]
        return json.dumps(message)

    def _scrap(self) -> str:
        pick = self._random
        characters = pick.choices('{}[]":,\\0aé€😀\n', k=pick.randrange(60))
        return pick.choice(["".join(characters), json.dumps(pick.choice(VALUES))])

    def _binary(self) -> bytes:
        """Return a binary message (B1, B3), more or less: addressed, or not, or wrongly."""
        pick = self._random
        body = pick.randbytes(pick.randrange(40))
        if pick.random() < 0.5:
            about = {**self._data("BinaryRoute"), "seq": pick.choice([0, 1, *VALUES[:4]])}
            header = json.dumps(about).encode()
            body = len(header).to_bytes(2, "big") + header + body
        size = len(body) if pick.random() < 0.8 else pick.randrange(2**32)
        kind = pick.choice([0x01, 0x02, 0x03, 0x04, 0x81, 0x82, 0x83, 0x84, 0xFF])
        return kind.to_bytes(1, "big") + size.to_bytes(4, "big") + body

    def _fragmented(self, body: bytes) -> bytes:
        at = self._random.randrange(len(body))
        parts = (frame(TEXT, body[:at], first=0), frame(PING, b"between"), frame(0, body[at:]))
        return b"".join(parts)

    # ---- what may end it -------------------------------------------------------------------------

    def _endings(self) -> list[Callable[[], bytes]]:
        pick = self._random
        return [
            lambda: text("x" * (TEXT_LIMIT + pick.randrange(1, 1000))),
            lambda: frame(BINARY, b"", size=FRAME_LIMIT + pick.randrange(2, 2**40)),
            lambda: frame(TEXT, b'{"type":"\xff\xfe"}'),
            lambda: frame(TEXT, b'{"type":"\xed\xa0\x80"}'),
            lambda: frame(PING, b"x" * pick.randrange(126, 200)),
            lambda: frame(PING, b"in parts", first=0),
            lambda: frame(pick.choice([3, 7, 0xB, 0xF]), b"reserved"),
            lambda: frame(TEXT, b"{}", first=0x80 | pick.choice([0x10, 0x20, 0x40])),
            lambda: frame(0, b"continues nothing"),
            lambda: frame(TEXT, b'{"type":', first=0) + text("{}"),
            lambda: frame(
                CLOSE, pick.choice([b"", b"\x03", b"\x03\xe8", b"\xff\xff", b"\x0f\xa0\xff"])
            ),
            lambda: b"\x81\x02{}",  # not masked (RFC 6455 section 5.1)
        ]

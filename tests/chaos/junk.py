"""PURE: what does not belong on the bus, by a seed; each piece with what must become of it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec import Raw, msgpack

from shared.messages import codec
from shared.messages.answers import Receipt, Routed, Stored
from shared.messages.deliveries import DeliveryBatch, DirectDelivery, ReplayEnded, TopicDelivery
from shared.messages.envelopes import (
    CommandBatch,
    ConnectionClosed,
    ConnectionOpened,
    ConnectionsReport,
    DirectMessageReturned,
    DirectMessageUndelivered,
    HistoryAsked,
    InterestGained,
    InterestLost,
    InterestReport,
    MailboxAsked,
    Numbered,
    Opened,
    PresenceAsked,
    PresenceSet,
    RecoveryAsked,
    ReplayAsked,
    RouteBroadcast,
    RouteDirectMessage,
    Sender,
)

DELIVERY = DirectDelivery("dm_1", "nobody", "junk", b"1", b"", 1, "dm_1", "", ["no-node"])
OPENED = Opened("nobody", "no-connection")
SAMPLES: dict[str, list[Any]] = {
    "router": [
        RouteBroadcast("m", "junk.topic", b"1"),
        InterestGained(["junk.topic"]),
        InterestLost(["junk.topic"]),
        InterestReport(["junk.topic"], True, True),
        HistoryAsked("ask", "junk.topic", 5),
        RecoveryAsked("ask", "junk.topic", 5),
        ReplayAsked(1, 0),
    ],
    "presence": [
        RouteDirectMessage("dm_1", "nobody", "junk", b"1"),
        ConnectionOpened(OPENED),
        ConnectionClosed("nobody", "no-connection"),
        ConnectionsReport([OPENED], True, True),
        PresenceSet("nobody", "away", b"{}"),
        PresenceAsked("no-connection", ["presence.nobody"]),
        DirectMessageReturned(DELIVERY),
        DirectMessageUndelivered(DELIVERY),
        MailboxAsked("nobody", "no-connection"),
    ],
    "inbox": [
        TopicDelivery("p", 1, "m", "junk.topic", b"1", b"", "junk", 1, False, "ask", ""),
        ReplayEnded(1, 0),
    ],
    "direct": [DELIVERY],
    "answers": [Routed("ask", "m", [], True), Receipt("ask", "no-node", 1), Stored("a", "m", True)],
}
SAMPLES["undelivered"] = SAMPLES["direct"]

NO_MAP_HERE = {"no": "map"}
"""Wrong wherever it stands: no envelope holds a map."""

SURROGATE = b"x\xed\xa0\x80"
TAGS = [0, -1, 17 + 2**32, 99, 2**63, 2**64 - 1, -(2**63), "1", 1.5, None, True, [], NO_MAP_HERE]
TEXTS = [
    b"",
    b"null",
    b"[" * 300 + b"]" * 300,
    b'{"a":' * 300 + b"1" + b"}" * 300,
    b'{"a":NaN}',
    b'"\\ud800"',
    b"1e400",
    b'{"type":"Broadcast","data":{"topic":"a","payload":1}}',
]
DEPTHS = [300, 1_100, 20_000]


@dataclass(frozen=True)
class Junk:
    """Something bad."""

    what: str
    body: bytes
    poison: tuple[bytes, ...]
    """What of it must be put aside, where that is done."""


class JunkYard:
    """Makes junk for one kind of queue after the other."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - to be repeated
        self._count = 0

    def piece(self, kind: str) -> Junk:
        """Return something that no reader of such a queue can take for what it expects."""
        what = self.rng.choice(["noise", "text", "depth", "cut", "frame", "items", "items"])
        if what == "items":
            return self._with_bad_items(kind)
        body = getattr(self, f"_{what}")(kind)
        return Junk(what, body, (body,))

    def good_around(self, junk: list[bytes], topic: str, name: str) -> Junk:
        """Return a batch for the router in which a good broadcast follows all that is bad."""
        good = codec.encode(RouteBroadcast(name, topic, b'"good"', answer=False))
        return Junk("around", self._commands([*junk, good]), tuple(junk))

    def bad_item(self, kind: str) -> bytes:
        """Return something that is in no way an envelope of this kind."""
        make: Callable[[str], bytes] = self.rng.choice(
            [self._wrong_type, self._wrong_type, self._wrong_tag, self._surrogate, self._deep_item]
        )
        return make(kind)

    # ---- whole messages --------------------------------------------------------------------------

    def _noise(self, _kind: str) -> bytes:
        first = self.rng.choice([0xC1, self.rng.randrange(0x80)])  # no array begins so
        return bytes([first]) + self.rng.randbytes(self.rng.randrange(300))

    def _text(self, _kind: str) -> bytes:
        return self.rng.choice(TEXTS)

    def _depth(self, _kind: str) -> bytes:
        return b"\x91" * self.rng.choice(DEPTHS) + b"\xc0"

    def _cut(self, kind: str) -> bytes:
        whole = self._whole(kind, [codec.encode(self.rng.choice(SAMPLES[kind]))])
        return whole[: self.rng.randrange(1, len(whole))]

    def _frame(self, kind: str) -> bytes:
        """Spoil what is around the envelopes."""
        plain = msgpack.decode(self._whole(kind, [codec.encode(self.rng.choice(SAMPLES[kind]))]))
        if kind == "answers":
            return msgpack.encode(self.rng.choice([NO_MAP_HERE, 5, "x", [plain], [plain[0], 7]]))
        at = self.rng.randrange(len(plain))
        plain[at] = self._other_type(plain[at])
        return msgpack.encode(plain)

    def _with_bad_items(self, kind: str) -> Junk:
        good = codec.encode(self.rng.choice(SAMPLES[kind]))
        bad = [self.bad_item(kind) for _ in range(self.rng.randint(1, 4))]
        if kind in {"router", "presence"}:
            return Junk("items", self._commands(bad), tuple(bad))
        items = [good, *bad]
        self.rng.shuffle(items)
        body = self._whole(kind, items)
        return Junk("items", body, (body,))

    def _whole(self, kind: str, items: list[bytes]) -> bytes:
        if kind in {"router", "presence"}:
            return self._commands(items)
        if kind == "answers":
            return codec.join(items)
        return codec.encode(DeliveryBatch(0, 0, 0, 0, [Raw(one) for one in items]))

    def _commands(self, items: list[bytes]) -> bytes:
        self._count += 1
        numbered = [Numbered(number, Raw(item)) for number, item in enumerate(items, 1)]
        sender = Sender("junk", f"junk-{self._count}", "junk")
        return codec.encode(CommandBatch(sender, "", numbered))

    # ---- envelopes -------------------------------------------------------------------------------

    def _plain(self, kind: str) -> list[Any]:
        plain = msgpack.decode(codec.encode(self.rng.choice(SAMPLES[kind])))
        assert isinstance(plain, list)
        return plain

    def _wrong_type(self, kind: str) -> bytes:
        plain = self._plain(kind)
        at = self.rng.randrange(1, len(plain))
        plain[at] = self._other_type(plain[at])
        return msgpack.encode(plain)

    def _wrong_tag(self, kind: str) -> bytes:
        plain = self._plain(kind)
        plain[0] = self.rng.choice(TAGS)
        return msgpack.encode(self.rng.choice([plain, plain[:1], []]))

    def _surrogate(self, kind: str) -> bytes:
        plain = self._plain(kind)
        texts = [at for at, value in enumerate(plain) if isinstance(value, str)]
        if not texts:
            return self._wrong_type(kind)
        plain[self.rng.choice(texts)] = "SURR"
        return msgpack.encode(plain).replace(b"SURR", SURROGATE)

    def _deep_item(self, _kind: str) -> bytes:
        return b"\x91" * DEPTHS[0] + b"\xc0"  # a deeper one spoils what is around it

    def _other_type(self, value: object) -> object:
        """Return something of a type that cannot stand where this stands."""
        wrong: list[object] = [NO_MAP_HERE]
        match value:
            case bool():
                wrong += [2**64 - 1, "true", float("nan"), []]
            case int():
                wrong += ["7", float("nan"), float("inf"), [], b"7"]
            case str():
                wrong += [7, 2**64 - 1, float("nan"), [], True]
            case bytes():
                wrong += [7, [], float("-inf"), False]
            case list():
                wrong += [7, "x", float("nan"), 2**63]
        return self.rng.choice(wrong)

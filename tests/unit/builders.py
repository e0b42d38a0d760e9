"""What many unit tests need: a life of a node, an identity, envelopes with only what matters."""

from typing import Any

import msgspec

from gateway.core.identity import Grants, Identity
from shared.broker.ports import Address
from shared.messages import codec
from shared.messages.deliveries import (
    DirectDelivery,
    Dismissal,
    ReplayEnded,
    SettleAsked,
    SubscribersWanted,
    TopicDelivery,
)
from shared.messages.envelopes import Sender
from shared.messages.forms import Form
from shared.settings import OPEN


def life(node_id: str, boot: str = "b1", process: str | None = None) -> Sender:
    """One life of a node; later boots and processes sort later."""
    return Sender(node_id, process or f"{node_id}-p1", boot)


def identity(user_id: str = "alice", **permissions: Any) -> Identity:
    """A user with these permissions, or with all that development grants."""
    return Identity(user_id, Grants.read(permissions or OPEN), expires_at=2e9)


DELIVERY = msgspec.msgpack.Decoder(
    TopicDelivery | DirectDelivery | ReplayEnded | SettleAsked | Dismissal | SubscribersWanted
)


def topic_delivery(**fields: Any) -> TopicDelivery:
    given = {
        "process": "n1-p1",
        "number": 1,
        "message_id": "broadcast_1",
        "topic": "chat.general",
        "payload": b'{"n":1}',
        "metadata": b"",
        "from_user": "alice",
        "sent_at_ms": 1234567890123,
        "form": Form.JSON,
        "ask": "broadcast_1",
        "report_to": "answers.n1.b1",
        "except_connection": "",
        "only_connection": "",
    }
    return TopicDelivery(**{**given, **fields})


def direct_delivery(**fields: Any) -> DirectDelivery:
    given = {
        "message_id": "dm_1",
        "target_user": "bob",
        "from_user": "alice",
        "payload": b'"hi"',
        "metadata": b"",
        "sent_at_ms": 1234567890123,
        "ask": "dm_1",
        "report_to": "answers.n1.b1",
        "nodes": ["n1"],
    }
    return DirectDelivery(**{**given, **fields})


class Stage:
    """Plays the reign's part for an owner: numbers what is sent, publishes and logs what is due.

    Addresses in ``full`` refuse what they are given. The owner ``after`` another one is told what
    that one has logged, since its last checkpoint if it made any.
    """

    def __init__(self, owner: Any, *, after: "Stage | None" = None, now_ms: int = 0) -> None:
        self.owner = owner
        self.full: set[str] = set()
        self.delivered: list[tuple[str, Any]] = []
        self.answered: list[tuple[str, Any]] = []
        self.announced: list[Any] = []
        self.marked: set[str] = set()
        self.log: list[bytes] = list(after.log) if after else []
        self.before: list[bytes] = list(after.before) if after else []
        """What was logged before the last checkpoint."""

        self._numbers: dict[str, int] = dict(after._numbers) if after else {}
        for record in self.records:
            owner.replay(record)
        self.wants_from_ms = owner.begin("log", now_ms, whole=not self.before)

    @property
    def records(self) -> list[Any]:
        """What a successor is told."""
        return [codec.decode(one, codec.RECORD) for one in self.log]

    def checkpoint(self) -> None:
        """Log what rebuilds the present state; nothing before it is told to a successor."""
        self.before += self.log
        self.log = list(self.owner.checkpoint())

    def fill(self, now_ms: int = 0) -> None:
        """Tell the owner what came before the last checkpoint."""
        for record in [*self.before, *self.log]:
            self.owner.replay_older(codec.decode(record, codec.RECORD))
        self.owner.filled(now_ms)
        self.publish()

    def send(
        self, sender: Sender, envelope: object, *, number: int | None = None, now_ms: int = 0
    ) -> int:
        """Have one envelope performed; return its number."""
        if number is None:
            number = self._numbers[sender.process] = self._numbers.get(sender.process, 0) + 1
        answers = f"answers.{sender.node_id}"
        self.owner.perform(sender, answers, number, codec.encode(envelope), now_ms)
        self.publish()
        return number

    def publish(self) -> None:
        """Publish until the owner wants no more."""
        while (effects := self.owner.take()) is not None:
            self.log += effects.records
            self.marked |= {self._name(to) for to in effects.marks}
            refused = set()
            for to, packed in effects.deliveries.items():
                if self._name(to) in self.full:
                    refused.add(to)
                    continue
                self.delivered += [(self._name(to), decode_delivery(one)) for one in packed]
            self.announced += effects.announcements
            for queue, packed in effects.answers.items():
                answers = codec.decode(codec.join(packed), codec.ANSWERS)
                self.answered += [(queue, one) for one in answers]
            self.owner.settle(frozenset(refused))

    def _name(self, to: Address) -> str:
        return to.queue or to.exchange

    def clear(self) -> None:
        """Forget what was published so far."""
        self.delivered, self.answered, self.announced = [], [], []


def decode_delivery(body: bytes) -> Any:
    return codec.decode(body, DELIVERY)

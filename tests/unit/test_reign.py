"""One owner's time over one partition, over the broker in memory: shared/ownership/reign.py."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import Raw
from prometheus_client import CollectorRegistry
from ulid import ULID

from presence_service.commands import PresenceOwner
from presence_service.core.mailbox import Limits
from router.commands import RouterOwner
from router.core.namespaces import Namespaces
from router.core.retention import Retention
from shared import clock
from shared.broker import topology
from shared.broker.memory import MemoryBroker
from shared.broker.ports import Arrived, Queue, QueueKind
from shared.errors import BrokerUnavailable
from shared.messages import codec
from shared.messages.answers import HistoryPage, Routed
from shared.messages.deliveries import DeliveryBatch, ReplayEnded
from shared.messages.envelopes import (
    CommandBatch,
    ConnectionsReport,
    HistoryAsked,
    InterestReport,
    Numbered,
    Opened,
    ReplayAsked,
    RouteBroadcast,
    Sender,
)
from shared.messages.news import Heartbeat
from shared.ownership import log as log_module
from shared.ownership.counts import Counts
from shared.ownership.effects import Owner
from shared.ownership.leases import Change
from shared.ownership.log import Log
from shared.ownership.news import News, Place
from shared.ownership.reign import Reign, announce_nothing
from shared.trail import Trail
from tests.unit.builders import decode_delivery, life

N1, N2 = life("n1"), life("n2")
NAMESPACES = Namespaces({"#": Retention(messages=3, seconds=300)})


class Post:
    """A queue of the broker, and what has come to it."""

    def __init__(self) -> None:
        self.arrived: list[bytes] = []

    async def reads(self, broker: MemoryBroker, queue: Queue) -> "Post":
        channel = await (await broker.connect("test")).channel(prefetch=10_000)
        await channel.declare(queue)
        await channel.consume(queue.name, lambda arrived: self.arrived.append(arrived.body))
        return self

    @property
    def batches(self) -> list[DeliveryBatch]:
        return [codec.decode(body, codec.DELIVERY_BATCH) for body in self.arrived]

    @property
    def delivered(self) -> list[Any]:
        return [decode_delivery(bytes(one)) for batch in self.batches for one in batch.items]

    @property
    def answers(self) -> list[Any]:
        return [one for body in self.arrived for one in codec.decode(body, codec.ANSWERS)]


class Realm:
    """A partition's reigns, and two nodes that hear of it."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.inbox, self.answers = Post(), Post()
        self.registry = CollectorRegistry()
        self.counts = Counts("router", self.registry)
        self._numbers = 0
        self._answering: list[asyncio.Task[None]] = []
        self.trail = Trail("router", "r1", time.time_ns)

    async def opens(self, inbox: Queue | None = None) -> "Realm":
        await self.inbox.reads(self.broker, inbox or topology.inbox("n1", "b1"))
        await self.answers.reads(self.broker, Queue("answers.n1", QueueKind.EXCLUSIVE))
        return self

    async def begins(
        self, make: type[Owner] | None = None, *, heard: Sender | None = None
    ) -> Reign:
        """Begin a reign, and fill its history, like a replica does that has heard from a node."""
        connection = await self.broker.connect("replica")
        channel = await connection.channel()
        reigns: list[Reign] = []

        def apply(change: Change) -> None:
            for sender in change.ended:
                for one in reigns:
                    one.node_ended(sender, clean=change.clean)

        news = News(
            await connection.channel(),
            "router",
            "r1",
            self.trail,
            place=lambda: Place({}, [], "r1", 0),
            apply=apply,
            beat_returned=lambda: None,
        )
        if heard is not None:
            news.leases.renewed(heard)
        owner: Owner
        if make is PresenceOwner:
            owner = PresenceOwner(news.leases, Limits())
        else:
            owner = RouterOwner(news.leases, NAMESPACES)
        records = Log(connection, channel, "router", 0)
        await records.begin(0, owner.replay)
        reign = Reign(0, owner, channel, records, news, announce_nothing, self.counts, self.trail)
        reigns.append(reign)
        self._answering.append(asyncio.create_task(news.answer()))
        if (older_ms := reign.begin()) is not None:
            await reign.fill(older_ms)
        return reign

    async def sends(self, reign: Reign, *envelopes: object, sender: Sender = N1) -> None:
        """Have a batch of commands performed."""
        items = []
        for envelope in envelopes:
            self._numbers += 1
            items.append(Numbered(self._numbers, Raw(codec.encode(envelope))))
        body = codec.encode(CommandBatch(sender, "answers.n1", items))
        await reign.perform(await self._arrived(reign, body))
        await asyncio.sleep(0)

    async def _arrived(self, reign: Reign, body: bytes) -> Arrived:
        """Have a message arrive on the reign's own channel, where it is to be acknowledged."""
        queue = topology.commands("router", 0)
        await reign._channel.declare(queue)
        await reign._channel.publish(body, topology.queue_address(queue))
        arrived = await reign._channel.take(queue.name)
        assert arrived is not None
        return arrived


@pytest.fixture
async def realm() -> Realm:
    return await Realm().opens()


def broadcast(message_id: str, topic: str = "a") -> RouteBroadcast:
    return RouteBroadcast(message_id, topic, b"1", from_user="alice")


WANTS_A = InterestReport(["a"], first=True, last=True)


async def test_a_broadcast_is_logged_delivered_and_answered(realm: Realm) -> None:
    reign = await realm.begins()
    await realm.sends(reign, WANTS_A, broadcast("m1"), broadcast("m2"))

    assert [one.message_id for one in realm.inbox.delivered] == ["m1", "m2"]
    [batch] = [one for one in realm.inbox.batches if one.items]
    assert (batch.partition, batch.term, batch.sequence, batch.serial) == (0, 1, 1, 2)
    assert realm.answers.answers == [
        Routed(one, one, ["n1"], complete=True) for one in ("m1", "m2")
    ]
    successor = await realm.begins()
    assert successor.owner.serial == 2


async def test_a_reign_ends_without_an_answer_when_another_replica_has_a_higher_term(
    realm: Realm,
) -> None:
    reign = await realm.begins()
    await realm.sends(reign, WANTS_A, broadcast("m1"))
    reign._news.peers.heard(Heartbeat("router", "r2", 1, 0, {0: reign.term, 1: 9}, []))
    await realm.sends(reign, broadcast("m2"))
    reign._news.peers.heard(Heartbeat("router", "r2", 2, 0, {0: reign.term + 1}, []))

    with pytest.raises(BrokerUnavailable):
        await realm.sends(reign, broadcast("m3"))
    with pytest.raises(BrokerUnavailable):
        await reign.tick()
    assert [one.message_id for one in realm.inbox.delivered] == ["m1", "m2"]
    assert len(realm.answers.answers) == 2


async def test_a_reign_that_hears_of_a_higher_term_while_it_appends_promises_nothing(
    realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    reign = await realm.begins()
    await realm.sends(reign, WANTS_A)
    append = reign._log.append

    def appends_and_hears(records: Iterable[bytes]) -> "asyncio.Future[list[None]]":
        reign._news.peers.heard(Heartbeat("router", "r2", 1, 0, {0: reign.term + 1}, []))
        return append(records)

    monkeypatch.setattr(reign._log, "append", appends_and_hears)
    with pytest.raises(BrokerUnavailable):
        await realm.sends(reign, broadcast("m1"))
    assert not realm.answers.answers


async def test_batches_to_a_node_are_counted_by_each_reign_from_one(realm: Realm) -> None:
    for term in (1, 2):
        reign = await realm.begins()
        await realm.sends(reign, WANTS_A)
        for n in range(3):
            await realm.sends(reign, broadcast(f"m{term}{n}"))

    assert [(one.term, one.sequence) for one in realm.inbox.batches if one.items] == [
        (term, sequence) for term in (1, 2) for sequence in (1, 2, 3)
    ]


async def test_of_several_batches_only_the_last_says_how_far_the_node_has_come(
    realm: Realm,
) -> None:
    reign = await realm.begins()
    await realm.sends(reign, WANTS_A)
    await realm.sends(reign, *(broadcast(f"m{n}") for n in range(250)))

    batches = [one for one in realm.inbox.batches if one.items]
    assert [len(one.items) for one in batches] == [100, 100, 50]
    assert [(one.sequence, one.serial) for one in batches] == [(1, 0), (2, 0), (3, 250)]


async def test_a_node_that_asks_is_given_what_it_missed_and_told_when_that_is_all(
    realm: Realm,
) -> None:
    reign = await realm.begins()
    await realm.sends(reign, WANTS_A, broadcast("m1"), broadcast("other", "b"), broadcast("m2"))
    realm.inbox.arrived.clear()

    await realm.sends(reign, ReplayAsked(7, 1))

    again, ended = realm.inbox.delivered
    assert (again.message_id, again.serial, again.replayed) == ("m2", 3, True)
    assert ended == ReplayEnded(7, lost=0)


@pytest.mark.parametrize("checkpoint", [False, True])
async def test_a_successor_gives_again_what_its_predecessor_has_delivered(
    realm: Realm, checkpoint: bool
) -> None:
    first = await realm.begins()
    await realm.sends(first, WANTS_A, broadcast("m1"), broadcast("m2"))
    if checkpoint:
        await first._checkpoint()
    await realm.sends(first, broadcast("m3"))
    realm.inbox.arrived.clear()

    second = await realm.begins()
    await realm.sends(second, WANTS_A)
    await realm.sends(second, ReplayAsked(7, 1))

    *again, ended = realm.inbox.delivered
    assert [(one.message_id, one.offset) for one in again] == [("m2", 2), ("m3", 3)]
    assert ended == ReplayEnded(7, lost=0)
    assert {batch.term for batch in realm.inbox.batches} == {2}


async def test_a_successor_answers_for_what_was_kept_before_its_checkpoint(realm: Realm) -> None:
    first = await realm.begins()
    await realm.sends(first, broadcast("m1"))
    await first._checkpoint()
    realm.answers.arrived.clear()

    second = await realm.begins()
    await realm.sends(second, HistoryAsked("q", "a", 10))

    [page] = realm.answers.answers
    assert isinstance(page, HistoryPage)
    assert [one.message_id for one in page.messages] == ["m1"]


async def test_an_inbox_that_was_full_is_told_what_it_has_missed_once_it_has_room() -> None:
    realm = Realm()
    small = Queue(topology.inbox("n1", "b1").name, QueueKind.KEPT, max_length=1)
    keeper = await (await realm.broker.connect("test")).channel()
    await keeper.declare(small)
    await keeper.publish(b"full", topology.queue_address(small))
    reign = await realm.begins()
    await realm.sends(reign, WANTS_A, broadcast("m1"))
    await reign.tick()
    arrived = await keeper.take(small.name)
    assert arrived is not None
    assert arrived.body == b"full"
    assert await keeper.take(small.name) is None

    for _ in range(2):
        await reign.tick()

    arrived = await keeper.take(small.name)
    assert arrived is not None
    mark = codec.decode(arrived.body, codec.DELIVERY_BATCH)
    assert (mark.sequence, mark.serial, mark.items) == (1, 1, [])
    await reign.tick()
    assert await keeper.take(small.name) is None  # once is enough


async def test_an_inbox_that_was_full_is_told_by_the_next_reign_too(realm: Realm) -> None:
    small = Queue(topology.inbox("n2", "b1").name, QueueKind.KEPT, max_length=1)
    keeper = await (await realm.broker.connect("test")).channel()
    await keeper.declare(small)
    await keeper.publish(b"full", topology.queue_address(small))
    first = await realm.begins()
    await realm.sends(first, WANTS_A, broadcast("m1"), sender=N2)
    await keeper.take(small.name)

    second = await realm.begins()
    await second.tick()

    arrived = await keeper.take(small.name)
    assert arrived is not None
    mark = codec.decode(arrived.body, codec.DELIVERY_BATCH)
    assert (mark.term, mark.sequence, mark.items) == (2, 1, [])  # a hole: the first is missing
    await second.publish()
    third = await realm.begins()
    assert third.owner.behind == set()


async def test_a_node_whose_interest_is_new_is_told_how_far_the_partition_has_come(
    realm: Realm,
) -> None:
    reign = await realm.begins()
    await realm.sends(reign, broadcast("m1"), sender=N2)
    await realm.sends(reign, WANTS_A)

    [mark] = realm.inbox.batches
    assert (mark.sequence, mark.serial, mark.items) == (0, 1, [])


async def test_a_life_that_the_log_knows_is_believed_and_one_that_is_over_is_not(
    realm: Realm,
) -> None:
    first = await realm.begins()
    await realm.sends(first, WANTS_A)
    reborn = life("n1", "b2")
    await realm.sends(first, WANTS_A, sender=reborn)
    await realm.sends(first, WANTS_A, sender=N2)

    second = await realm.begins()

    assert second._news.leases.alive == {"n1": reborn, "n2": N2}
    assert second.owner.lives == {"n1": reborn, "n2": N2}


async def test_what_a_life_held_is_over_if_a_later_one_was_heard_before_the_reign(
    realm: Realm,
) -> None:
    first = await realm.begins()
    await realm.sends(first, WANTS_A)
    reborn = life("n1", "b2")

    second = await realm.begins(heard=reborn)
    assert second._news.leases.alive == {"n1": reborn}
    assert second.owner.lives == {}
    await second.publish()

    assert (await realm.begins()).owner.lives == {}


async def test_what_is_no_envelope_goes_to_the_poison_and_the_batch_goes_on(realm: Realm) -> None:
    poison = await Post().reads(realm.broker, topology.POISON)
    reign = await realm.begins()
    await realm.sends(reign, WANTS_A, ["?"], broadcast("m1"))

    assert poison.arrived == [codec.encode(["?"])]
    assert [one.message_id for one in realm.inbox.delivered] == ["m1"]


class Interrupted:
    """A state whose checkpoint lasts long enough for a node to end meanwhile."""

    def __init__(self, reign: Reign, people: int) -> None:
        self.reign = reign
        self._checkpoint = reign.owner.checkpoint
        self._people = people

    def __call__(self) -> Iterator[bytes]:
        for number, record in enumerate(self._checkpoint()):
            if number == self._people // 2:
                asyncio.get_running_loop().call_soon(self._end)
            yield record

    def _end(self) -> None:
        """What ``Replica`` does when a lease runs out, whatever the reign is doing."""
        self.reign.node_ended(N1, clean=False)


async def test_a_node_may_end_while_a_checkpoint_is_made(
    realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "WINDOW_BYTES", 1000)
    reign = await realm.begins(PresenceOwner)
    people = [Opened(f"u{n}", f"c{n}") for n in range(200)]
    await realm.sends(reign, ConnectionsReport(people, first=True, last=True))
    monkeypatch.setattr(reign.owner, "checkpoint", Interrupted(reign, len(people)))

    await reign._checkpoint()

    await reign.publish()
    successor = await realm.begins(PresenceOwner)
    assert isinstance(successor.owner, PresenceOwner)
    assert successor.owner.directory.people == {}


# ---- what is counted -----------------------------------------------------------------------------


def sample(realm: Realm, name: str) -> float | None:
    return realm.registry.get_sample_value(f"realtime_router_{name}")


async def test_what_is_carried_out_is_counted_and_measured_by_batch_and_age(
    realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "time", SimpleNamespace(time_ns=lambda: 1_002_500 * 1_000_000))
    reign = await realm.begins()
    first, second = (f"broadcast_{ULID.from_timestamp(at)}" for at in (1000.0, 1001.0))

    await realm.sends(reign, WANTS_A, broadcast(first), broadcast(second))
    await realm.sends(reign)  # wakes a partition, and is no work
    await realm.sends(reign, WANTS_A)

    assert sample(realm, "performed_total") == reign.performed == 4
    assert (sample(realm, "batch_items_count"), sample(realm, "batch_items_sum")) == (2, 4)
    ages = sample(realm, "command_age_seconds_count"), sample(realm, "command_age_seconds_sum")
    assert ages == (1, 2.5)  # the oldest of each batch that has any


async def test_what_is_poisoned_is_counted_once_the_broker_has_it(realm: Realm) -> None:
    await Post().reads(realm.broker, topology.POISON)
    reign = await realm.begins()

    await realm.sends(reign, ["?"])

    assert sample(realm, "poisoned_total") == 1

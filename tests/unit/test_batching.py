"""Batches and the numbered way to a partition: shared/broker/batching.py."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from shared.broker import batching
from shared.broker.batching import BATCH_BYTES, BATCH_ENVELOPES, Packer, PartitionLink, Room, chunks
from shared.broker.ports import Address
from shared.errors import BrokerUnavailable, Refused, Unroutable
from shared.messages import codec
from shared.messages.envelopes import CommandBatch, Sender
from tests.unit.builders import life

PARTITION = Address(queue="router.commands.0")


# ---- chunks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "lengths"),
    [
        ([], []),
        ([1], [1]),
        ([0] * 100, [100]),
        ([0] * 101, [100, 1]),
        ([0] * 250, [100, 100, 50]),
        ([32_768, 32_768], [2]),
        ([32_768, 32_769], [1, 1]),
        ([BATCH_BYTES], [1]),
        ([1, BATCH_BYTES + 1, 1], [1, 1, 1]),
        ([BATCH_BYTES + 1, 1, 1], [1, 2]),
    ],
)
def test_a_batch_ends_at_100_envelopes_or_64_kilobytes_and_a_larger_one_goes_alone(sizes, lengths):
    assert [len(one) for one in chunks([b"x" * size for size in sizes])] == lengths


@given(st.lists(st.integers(0, 40_000).map(lambda size: b"x" * size), max_size=20))
def test_no_envelope_is_lost_and_none_overtakes_another(envelopes):
    split = list(chunks(envelopes))

    assert [one for chunk in split for one in chunk] == envelopes
    assert all(chunk for chunk in split)
    assert all(len(one) == 1 or sum(map(len, one)) <= BATCH_BYTES for one in split)


# ---- the link ------------------------------------------------------------------------------------


@dataclass
class FakeLife:
    """A connection to a broker that confirms only when told to."""

    sender: Sender = field(default_factory=lambda: life("n1"))
    answers: str = "answers.n1.b1"
    batches: list[CommandBatch] = field(default_factory=list)
    confirms: "list[asyncio.Future[None]]" = field(default_factory=list)

    @property
    def publisher(self) -> "FakeLife":
        return self

    async def publish(self, body: bytes, to: Address, *, persistent: bool = False) -> None:
        assert (to, persistent) == (PARTITION, True)
        self.batches.append(codec.decode(body, codec.COMMAND_BATCH))
        self.confirms.append(asyncio.get_running_loop().create_future())
        await self.confirms[-1]

    async def confirm(self, error: Exception | None = None) -> None:
        """Confirm the batch in flight, or fail it; wait for what follows from that."""
        if error is None:
            self.confirms[-1].set_result(None)
        else:
            self.confirms[-1].set_exception(error)
        await settled()

    @property
    def sent(self) -> list[list[tuple[int, bytes]]]:
        """Each batch as (number, envelope) pairs; an envelope is one word here."""
        return [
            [(one.number, bytes(one.envelope)) for one in batch.items] for batch in self.batches
        ]


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def running(link: PartitionLink, present: Callable[[], FakeLife]) -> AsyncIterator[None]:
    async def current() -> FakeLife:
        return present()

    task = asyncio.create_task(link.run(current))
    await settled()
    try:
        yield
    finally:
        task.cancel()


def word(text: str) -> bytes:
    return codec.encode(text)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(batching, "RETRY_SECONDS", 0)


def fresh_link(**bounds: Any) -> PartitionLink:
    """Return a link in the midst of a life."""
    link = PartitionLink(PARTITION, **bounds)
    link.resume_facts()
    return link


async def test_each_batch_is_counted_once_however_often_it_is_sent() -> None:
    counted: list[int] = []
    link, broker = PartitionLink(PARTITION, count_batch=counted.append), FakeLife()
    async with running(link, lambda: broker):
        link.submit(word("a"))
        await settled()
        link.submit(word("b"))
        link.submit(word("c"))
        assert (counted, link.waiting) == ([1], 2)

        await broker.confirm(BrokerUnavailable())
        assert (counted, link.waiting) == ([1], 2)
        await broker.confirm()
        assert (counted, link.waiting) == ([1, 2], 0)


async def test_the_first_goes_at_once_and_the_rest_while_it_waits_go_together():
    link, broker = fresh_link(), FakeLife()
    async with running(link, lambda: broker):
        first = link.submit(word("a"))
        await settled()
        rest = [link.submit(word("b")), link.tell(word("c"))]
        await settled()
        assert broker.sent == [[(1, word("a"))]]
        assert not first.confirmed.done()

        await broker.confirm()
        assert first.confirmed.done()
        assert broker.sent[1:] == [[(2, word("b")), (3, word("c"))]]
        assert not rest[0].confirmed.done()
        await broker.confirm()
        assert all(one.confirmed.done() for one in rest)
    assert {(batch.sender, batch.answers) for batch in broker.batches} == {
        (life("n1"), "answers.n1.b1")
    }


@pytest.mark.parametrize("error", [BrokerUnavailable(), Refused(), Unroutable()])
async def test_a_batch_that_failed_is_sent_again_before_any_other(error):
    link, broker = fresh_link(), FakeLife()
    async with running(link, lambda: broker):
        first = link.submit(word("a"))
        await settled()
        link.submit(word("b"))
        await broker.confirm(error)
        await broker.confirm(error)
        assert not first.confirmed.done()
        await broker.confirm()

        assert broker.sent == [[(1, word("a"))]] * 3 + [[(2, word("b"))]]


async def test_what_a_batch_was_begun_with_it_keeps_in_a_new_life():
    """Facts of an earlier boot must be known as such; answers go to where they are heard."""
    link, broker = fresh_link(), FakeLife()
    async with running(link, lambda: broker):
        link.tell(word("a"))
        await settled()
        broker.sender, broker.answers = life("n1", "b2"), "answers.n1.b2"
        await broker.confirm(BrokerUnavailable())
        await broker.confirm()
        link.tell(word("b"))
        await settled()

    assert [(one.sender.boot, one.answers) for one in broker.batches] == [
        ("b1", "answers.n1.b1"),
        ("b1", "answers.n1.b2"),
        ("b2", "answers.n1.b2"),
    ]


async def test_a_command_can_be_sent_again_under_its_old_number():
    link, broker = fresh_link(), FakeLife()
    async with running(link, lambda: broker):
        first = link.submit(word("a"))
        assert first.number is None
        await settled()
        link.submit(word("a"), number=first.number)
        link.submit(word("b"))
        await broker.confirm()

    assert broker.sent == [[(1, word("a"))], [(1, word("a")), (2, word("b"))]]


async def test_batches_stay_within_their_bounds():
    link, broker = fresh_link(), FakeLife()
    large = word("x" * (BATCH_BYTES // 2))
    for envelope in [word("a")] * (BATCH_ENVELOPES + 1) + [large, large]:
        link.submit(envelope)
    async with running(link, lambda: broker):
        for _ in range(3):
            await broker.confirm()

    assert [len(batch) for batch in broker.sent] == [100, 2, 1]


async def test_low_priority_leaves_half_of_the_line_to_the_others():
    link = fresh_link(limit=4)
    link.submit(word("a"), low=True)
    link.submit(word("b"))
    with pytest.raises(BrokerUnavailable):
        link.submit(word("refused"), low=True)
    link.submit(word("c"))


async def test_a_link_is_full_also_by_the_bytes_that_wait(monkeypatch):
    large = word("x" * 90)
    monkeypatch.setattr(batching, "LINE_BYTES", len(large))
    link, broker = fresh_link(), FakeLife()
    link.resume_facts()
    link.tell(large)
    assert link.full
    link.pause_facts()
    link.submit(large)
    with pytest.raises(BrokerUnavailable):
        link.submit(word("refused"))

    async with running(link, lambda: broker):
        await settled()
        assert link.full  # what is in flight may have to be sent again
        await broker.confirm()
        assert not link.full


async def test_links_that_share_a_room_are_full_together(monkeypatch):
    large = word("x" * 90)
    monkeypatch.setattr(batching, "LINE_BYTES", len(large))
    room = Room()
    one, other = fresh_link(room=room), fresh_link(room=room)
    one.submit(large)
    with pytest.raises(BrokerUnavailable):
        other.submit(word("refused"))
    other.tell(word("fact"))

    broker = FakeLife()
    async with running(one, lambda: broker):
        await broker.confirm()
    other.pause_facts()
    assert room.taken == 0


async def test_small_envelopes_take_room_besides_what_they_say(monkeypatch):
    monkeypatch.setattr(batching, "LINE_BYTES", 3 * batching.ENVELOPE_BYTES)
    link = fresh_link()
    for text in "abc":
        link.submit(word(text))
    with pytest.raises(BrokerUnavailable):
        link.submit(word("refused"))


async def test_a_packer_drops_what_is_too_much_and_counts_it(monkeypatch):
    monkeypatch.setattr(batching, "MOST_UNNUMBERED", 2)
    dropped: list[int] = []
    packer = Packer(dropped.append)
    for text in "abc":
        packer.add("answers", word(text))

    assert packer._waiting == {"answers": [word("a"), word("b")]}
    assert dropped == [1]


async def test_a_full_link_refuses_commands_but_neither_facts_nor_what_must_be_said():
    link, broker = fresh_link(limit=2), FakeLife()
    link.submit(word("a"))
    link.submit(word("b"))
    assert link.full
    with pytest.raises(BrokerUnavailable):
        link.submit(word("refused"))
    link.tell(word("fact"))
    link.insist(word("insisted"))

    async with running(link, lambda: broker):
        assert not link.full
        link.submit(word("c"))
        await broker.confirm()

    assert broker.sent == [
        [(n, word(text)) for n, text in enumerate(("a", "b", "fact", "insisted"), 1)],
        [(5, word("c"))],
    ]


async def test_facts_of_a_life_that_is_over_never_leave_and_commands_keep_their_order():
    link, broker = fresh_link(), FakeLife()
    link.submit(word("a"))
    fact = link.tell(word("fact"))
    link.insist(word("b"))

    link.pause_facts()

    with pytest.raises(BrokerUnavailable):
        await fact.confirmed
    async with running(link, lambda: broker):
        assert broker.sent == [[(1, word("a")), (2, word("b"))]]


async def test_a_fact_in_flight_is_not_discarded():
    link, broker = fresh_link(), FakeLife()
    async with running(link, lambda: broker):
        fact = link.tell(word("fact"))
        await settled()
        link.pause_facts()
        await broker.confirm(BrokerUnavailable())
        await broker.confirm()
        assert fact.confirmed.exception() is None

    assert broker.sent == [[(1, word("fact"))]] * 2


async def test_a_link_whose_line_was_emptied_waits_for_more():
    link, broker = fresh_link(), FakeLife()
    link.tell(word("fact"))
    link.pause_facts()
    async with running(link, lambda: broker):
        assert broker.sent == []
        link.submit(word("a"))
        await settled()
        assert broker.sent == [[(1, word("a"))]]


async def test_nobody_need_look_at_what_became_of_a_fact():
    link = fresh_link()
    link.tell(word("fact"))
    link.pause_facts()
    link.pause_facts()


async def test_between_two_lives_facts_are_dropped_at_once_so_that_none_pile_up():
    link, broker = PartitionLink(PARTITION), FakeLife()
    early = link.tell(word("early"))
    with pytest.raises(BrokerUnavailable):
        await early.confirmed

    link.resume_facts()
    link.tell(word("late"))
    async with running(link, lambda: broker):
        assert broker.sent == [[(1, word("late"))]]


async def test_whoever_remembers_a_settled_submission_does_not_keep_its_envelope_alive():
    link, broker = fresh_link(), FakeLife()
    submission = link.submit(word("a"))
    async with running(link, lambda: broker):
        await broker.confirm()

    assert (submission.number, submission.envelope) == (1, b"")


# ---- the packer ----------------------------------------------------------------------------------


@dataclass
class FakeChannel:
    """A channel that confirms only when told to."""

    published: list[tuple[str, list[bytes]]] = field(default_factory=list)
    confirms: "list[asyncio.Future[None]]" = field(default_factory=list)

    async def publish(self, body: bytes, to: Address) -> None:
        envelopes = msgspec.msgpack.decode(body, type=list[Raw])
        self.published.append((to.queue, [bytes(one) for one in envelopes]))
        self.confirms.append(asyncio.get_running_loop().create_future())
        await self.confirms[-1]


@asynccontextmanager
async def packing() -> "AsyncIterator[tuple[Packer, FakeChannel, list[int]]]":
    dropped: list[int] = []
    packer, channel = Packer(dropped.append), FakeChannel()
    running = asyncio.create_task(packer.run(channel))  # type: ignore[arg-type]
    try:
        yield packer, channel, dropped
    finally:
        running.cancel()


def says(packer: Packer, queue: str, envelope: bytes) -> "asyncio.Future[None]":
    return asyncio.ensure_future(packer.send({queue: [envelope]}))


async def test_what_several_add_for_a_queue_goes_together_and_each_learns_when_it_is_sent():
    async with packing() as (packer, channel, _):
        sent = [says(packer, "answers.n1", word("one")), says(packer, "answers.n1", word("two"))]
        await settled()
        assert channel.published == [("answers.n1", [word("one"), word("two")])]
        assert not any(one.done() for one in sent)

        channel.confirms[0].set_result(None)
        await settled()
        assert [one.result() for one in sent] == [None, None]


async def test_what_is_added_meanwhile_is_not_sent_before_its_own_confirm():
    async with packing() as (packer, channel, _):
        says(packer, "answers.n1", word("one"))
        await settled()
        later = says(packer, "answers.n1", word("two"))
        channel.confirms[0].set_result(None)
        await settled()
        assert not later.done()

        channel.confirms[1].set_result(None)
        await settled()
        assert later.done()


@pytest.mark.parametrize("refusal", [Refused(), Unroutable()])
async def test_what_a_queue_refuses_is_dropped_and_nobody_waits_for_it(
    refusal: BrokerUnavailable,
):
    async with packing() as (packer, channel, dropped):
        sent = says(packer, "answers.n1", word("one"))
        await settled()
        channel.confirms[0].set_exception(refusal)
        await settled()

        assert sent.result() is None
        assert dropped == [1]


async def test_whoever_waits_learns_that_the_broker_has_not_taken_it():
    async with packing() as (packer, channel, dropped):
        sent = says(packer, "answers.n1", word("one"))
        await settled()
        channel.confirms[0].set_exception(BrokerUnavailable())
        await settled()

        assert isinstance(sent.exception(), BrokerUnavailable)
        assert dropped == [1]


async def test_one_who_waits_no_longer_holds_up_nobody():
    async with packing() as (packer, channel, _):
        gone, there = says(packer, "a", word("one")), says(packer, "b", word("two"))
        await settled()
        gone.cancel()
        for confirm in channel.confirms:
            confirm.set_result(None)
        await settled()
        assert there.done()

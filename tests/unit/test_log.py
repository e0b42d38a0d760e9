"""A partition's log from reign to reign, over the broker in memory: shared/ownership/log.py."""

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from msgspec import Raw

from shared.broker import topology
from shared.broker.memory import MemoryBroker, MemoryChannel, MemoryConnection
from shared.broker.ports import Arrived
from shared.errors import BrokerUnavailable
from shared.messages import codec
from shared.messages.records import (
    CheckpointBegan,
    KeyUsed,
    Landmark,
    LogBatch,
    Record,
    ReignBegan,
)
from shared.ownership import log as log_module
from shared.ownership.log import Log, TermTaken

LOG = topology.log("router", 3)
LANDMARKS = topology.terms("router", 3)
LONG_AGO = datetime.fromtimestamp(0, UTC)


def used(key: int | str, size: int = 0) -> KeyUsed:
    """A record to tell apart from others."""
    return KeyUsed("x" * size, str(key), "", "", 0, 0)


def packed(*keys: int | str) -> list[bytes]:
    return [codec.encode(used(key)) for key in keys]


class Reigns:
    """One partition's reigns, one after the other."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.replayed: list[Record] = []

    async def begin(self, heard: int = 0) -> Log:
        """Begin a reign; ``replayed`` is what it was told."""
        self.replayed = []
        connection = await self.broker.connect("replica")
        log = Log(connection, await connection.channel(), "router", 3)
        await log.begin(heard, self.replayed.append)
        return log

    async def insist(self) -> Log:
        """Begin a reign like a replica does: again, if it is refused."""
        for _ in range(10):
            try:
                return await self.begin()
            except BrokerUnavailable:
                continue
        raise AssertionError("refused for ever")

    @property
    def keys(self) -> list[str]:
        return [one.key for one in self.replayed if isinstance(one, KeyUsed)]

    async def connection(self) -> MemoryConnection:
        return await self.broker.connect("test")

    async def append(self, term: int, *records: bytes) -> None:
        """Append as an owner with this term would."""
        body = codec.encode(LogBatch(term, [Raw(one) for one in records]))
        await self.put(body)

    async def put(self, body: bytes) -> None:
        channel = await (await self.connection()).channel()
        await channel.publish(body, topology.queue_address(LOG))

    async def lose_landmarks(self) -> list[Landmark]:
        """Take out all landmarks; return them."""
        channel = await (await self.connection()).channel()
        found = []
        while (arrived := await channel.take(LANDMARKS.name)) is not None:
            found.append(codec.decode(arrived.body, codec.LANDMARK))
            await channel.acknowledge(arrived)
        return found


@pytest.fixture
async def reigns() -> Reigns:
    return Reigns()


# ---- replaying -----------------------------------------------------------------------------------


async def test_the_first_reign_has_nothing_to_replay_and_gives_the_log_its_identity(
    reigns: Reigns,
) -> None:
    log = await reigns.begin()

    assert reigns.replayed == []
    assert (log.term, log.read_whole) == (1, True)
    assert len(log.identity) == 26


async def test_without_a_checkpoint_all_that_was_written_is_replayed_in_order(
    reigns: Reigns,
) -> None:
    first = await reigns.begin()
    await first.append(packed(1, 2))
    await first.append(packed(3))
    second = await reigns.begin()
    assert reigns.keys == ["1", "2", "3"]
    await second.append(packed(4))

    third = await reigns.begin()

    assert reigns.keys == ["1", "2", "3", "4"]
    assert [one.identity for one in (second, third)] == [first.identity] * 2
    assert [one.term for one in (first, second, third)] == [1, 2, 3]
    assert third.read_whole


async def test_what_is_appended_without_waiting_keeps_its_order(reigns: Reigns) -> None:
    log = await reigns.begin()
    appended = [log.append(packed(n, n + 1)) for n in range(0, 300, 2)]
    for one in appended:
        await one

    await reigns.begin()

    assert reigns.keys == [str(n) for n in range(300)]


async def test_nothing_to_append_takes_nothing(reigns: Reigns) -> None:
    log = await reigns.begin()
    place = log._next_place

    await log.append([])

    assert log._next_place == place


async def test_a_bad_record_is_skipped(reigns: Reigns) -> None:
    log = await reigns.begin()
    await log.append(packed(1))
    for bad in (b"\xc1", codec.encode(LogBatch(1, [Raw(codec.encode([99, "?"]))]))):
        await reigns.put(bad)
    await log.append(packed(2))

    await reigns.begin()

    assert reigns.keys == ["1", "2"]


async def test_a_reign_over_a_dead_channel_cannot_append(reigns: Reigns) -> None:
    log = await reigns.begin()
    reigns.broker.cut()

    with pytest.raises(BrokerUnavailable):
        await log.append(packed(1))

    await reigns.begin()
    assert reigns.keys == []


async def test_records_that_never_come_are_not_waited_for_for_ever(
    reigns: Reigns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "READ_SECONDS", 0.01)
    log = await reigns.begin()

    with pytest.raises(BrokerUnavailable):
        await log._find(CheckpointBegan("none", ""), 0)


# ---- checkpoints ---------------------------------------------------------------------------------


def note_places(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by each place of the log that is read."""
    places: list[int] = []
    decoded = log_module._decoded

    def noting(arrived: Arrived) -> log_module.Read:
        places.append(arrived.place)
        return decoded(arrived)

    monkeypatch.setattr(log_module, "_decoded", noting)
    return places


async def test_from_a_checkpoint_on_the_log_is_read_and_nothing_before_it(
    reigns: Reigns, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await reigns.begin()
    for n in range(10):
        await first.append(packed(n))
    await first.checkpoint(packed("state"))
    await first.append(packed(10))
    places = note_places(monkeypatch)

    second = await reigns.begin()

    assert reigns.keys == ["state", "10"]
    assert min(places) == 11  # the first reign's beginning, and ten records
    assert (second.identity, second.read_whole) == (first.identity, False)


async def test_the_last_checkpoint_counts(reigns: Reigns) -> None:
    log = await reigns.begin()
    for n in range(3):
        await log.checkpoint(packed(f"state {n}"))
        await log.append(packed(n))

    await reigns.begin()
    assert reigns.keys == ["state 2", "2"]
    second = await reigns.begin()
    await second.checkpoint(packed("state 3"))

    third = await reigns.begin()
    assert reigns.keys == ["state 3"]
    assert third.identity == log.identity


async def test_a_checkpoint_is_found_though_places_were_skipped(reigns: Reigns) -> None:
    log = await reigns.begin()
    for n in range(3):
        await reigns.append(log.term, *packed(n))  # the reign does not count these

    await log.checkpoint(packed("state"))

    await reigns.begin()
    assert reigns.keys == ["state"]


async def test_an_empty_state_makes_a_checkpoint_too(reigns: Reigns) -> None:
    log = await reigns.begin()
    await log.append(packed(1))
    await log.checkpoint([])

    await reigns.begin()

    assert reigns.keys == []


async def test_an_unfinished_checkpoint_does_not_count(
    reigns: Reigns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "WINDOW_BYTES", 1)
    log = await reigns.begin()
    await log.checkpoint(packed("whole"))
    await log.append(packed(1))

    def state() -> Iterable[bytes]:
        yield from packed("half")
        reigns.broker.cut()
        yield from packed("never")

    with pytest.raises(BrokerUnavailable):
        await log.checkpoint(state())

    await reigns.begin()
    assert reigns.keys == ["whole", "1", "half"]  # from the last whole one on


async def test_a_checkpoint_that_was_never_made_known_does_not_count(
    reigns: Reigns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner died between the last record and the landmark."""
    log = await reigns.begin()
    await log.append(packed(1))

    async def die(*_: object) -> Landmark:
        reigns.broker.cut()
        raise BrokerUnavailable("dead")

    with monkeypatch.context() as patch:
        patch.setattr(log_module, "move_landmark", die)
        with pytest.raises(BrokerUnavailable):
            await log.checkpoint(packed("state"))

    second = await reigns.begin()
    assert reigns.keys == ["1", "state"]
    assert second.read_whole


async def test_a_big_checkpoint_comes_back_whole(reigns: Reigns) -> None:
    big = [codec.encode(used(n, size=30_000)) for n in range(100)]
    assert sum(map(len, big)) > 2 * log_module.WINDOW_BYTES
    log = await reigns.begin()
    await log.append(packed("before"))

    await log.checkpoint(big)
    await log.append(packed("after"))

    await reigns.begin()
    assert reigns.keys == [*map(str, range(100)), "after"]


async def test_a_checkpoint_is_wanted_by_bytes_and_only_if_anything_was_appended(
    reigns: Reigns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "CHECKPOINT_BYTES", 1000)
    log = await reigns.begin()
    assert not log.wants_checkpoint
    await log.append([codec.encode(used(1, size=1000))])
    assert log.wants_checkpoint

    successor = await reigns.begin()
    assert successor.wants_checkpoint  # what it has read counts
    await successor.checkpoint([])

    assert (successor.wants_checkpoint, successor.has_grown) == (False, False)
    await successor.append(packed(1))
    assert (successor.wants_checkpoint, successor.has_grown) == (False, True)


# ---- older records -------------------------------------------------------------------------------


async def test_older_records_are_those_before_the_present_reign(reigns: Reigns) -> None:
    first = await reigns.begin()
    await first.append(packed(1))
    await first.checkpoint(packed("state"))
    await first.append(packed(2))
    second = await reigns.begin()
    await second.append(packed(3))
    older: list[Record] = []

    await second.older(LONG_AGO, older.append)

    assert [one.key for one in older if isinstance(one, KeyUsed)] == ["1", "state", "2"]
    assert len([one for one in older if isinstance(one, ReignBegan)]) == 1


async def test_older_records_of_a_deposed_owner_are_ignored_too(reigns: Reigns) -> None:
    await reigns.begin()
    second = await reigns.begin()
    await reigns.append(1, *packed("late"))
    await second.append(packed(2))
    third = await reigns.begin()
    assert reigns.keys == ["2"]
    older: list[Record] = []

    await third.older(LONG_AGO, older.append)

    assert [one.key for one in older if isinstance(one, KeyUsed)] == ["2"]


# ---- terms and landmarks -------------------------------------------------------------------------


async def test_records_of_a_deposed_owner_are_ignored(reigns: Reigns) -> None:
    first = await reigns.begin()
    await first.append(packed(1))
    second = await reigns.begin()
    await first.append(packed("late"))
    await second.append(packed(2))
    await first.append(packed("later"))

    await reigns.begin()

    assert reigns.keys == ["1", "2"]


async def test_a_log_that_cannot_be_read_from_here_is_not_prepared(
    reigns: Reigns, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await reigns.connection()
    log = Log(connection, await connection.channel(), "router", 3)
    await log.prepare()

    async def has_no_copy(*_: object) -> None:
        raise BrokerUnavailable

    monkeypatch.setattr(MemoryChannel, "read", has_no_copy)
    with pytest.raises(BrokerUnavailable):
        await log.prepare()


async def test_who_began_a_reign_and_wrote_nothing_has_deposed_nobody(reigns: Reigns) -> None:
    first = await reigns.begin()
    await first.append(packed(1))
    await reigns.begin()
    await first.append(packed(2))
    await reigns.begin()
    await first.append(packed(3))

    fourth = await reigns.begin()

    assert reigns.keys == ["1", "2", "3"]
    older: list[Record] = []
    await fourth.older(LONG_AGO, older.append)
    assert [one.key for one in older if isinstance(one, KeyUsed)] == ["1", "2", "3"]


async def test_an_owner_is_deposed_as_soon_as_one_of_its_successors_writes(reigns: Reigns) -> None:
    first = await reigns.begin()
    await first.append(packed(1))
    second = await reigns.begin()
    await first.append(packed("late"))
    await reigns.begin()
    await first.append(packed("later"))
    await second.append(packed(2))
    await first.append(packed("too late"))

    await reigns.begin()

    assert reigns.keys == ["1", "2"]


async def test_what_a_reign_has_read_before_it_wrote_stays_read(reigns: Reigns) -> None:
    first = await reigns.begin()
    await first.append(packed(1))
    await reigns.begin()
    await first.append(packed(2))
    third = await reigns.begin()
    assert reigns.keys == ["1", "2"]
    await first.append(packed("late"))
    await third.append(packed(3))

    await reigns.begin()

    assert reigns.keys == ["1", "2", "3"]


async def test_a_term_is_higher_than_any_that_was_heard_of(reigns: Reigns) -> None:
    await reigns.begin()

    assert (await reigns.begin(heard=41)).term == 42
    assert (await reigns.begin()).term == 43


async def test_a_truncated_log_is_refused(reigns: Reigns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "LOG_BYTES", 2000)
    log = await reigns.begin()
    for n in range(5):
        await log.append([codec.encode(used(n, size=1000))])

    with pytest.raises(BrokerUnavailable, match="lost its beginning"):
        await reigns.begin()
    assert reigns.replayed == []


async def test_a_log_whose_last_checkpoint_is_cut_off_is_refused(
    reigns: Reigns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "LOG_BYTES", 2000)
    log = await reigns.begin()
    await log.checkpoint(packed("state"))
    for n in range(5):
        await log.append([codec.encode(used(n, size=1000))])

    with pytest.raises(BrokerUnavailable, match="lost its beginning"):
        await reigns.begin()
    assert reigns.replayed == []


async def test_a_log_that_was_truncated_before_its_last_checkpoint_is_whole(
    reigns: Reigns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "LOG_BYTES", 2000)
    log = await reigns.begin()
    for n in range(5):
        await log.append([codec.encode(used(n, size=1000))])
    await log.checkpoint(packed("state"))

    await reigns.begin()

    assert reigns.keys == ["state"]


@pytest.mark.parametrize("reigned", [1, 3])
async def test_terms_grow_even_if_the_landmark_was_lost(reigns: Reigns, reigned: int) -> None:
    for n in range(reigned):
        last = await reigns.begin()
        await last.append(packed(n))
    await reigns.lose_landmarks()

    log = await reigns.insist()

    assert log.term > last.term
    assert reigns.keys == [str(n) for n in range(reigned)]


async def test_a_landmark_that_was_on_its_way_back_counts_again(reigns: Reigns) -> None:
    """A channel that dies may hold the landmark for a moment; then there seems to be none."""
    for n in range(3):
        log = await reigns.begin()
        await log.append(packed(n))
    await log.checkpoint(packed("state"))
    landmarks = await reigns.lose_landmarks()
    with pytest.raises(TermTaken):
        await reigns.begin()
    assert reigns.keys != ["state"]

    channel = await (await reigns.connection()).channel()
    for one in landmarks:
        await channel.publish(codec.encode(one), topology.queue_address(LANDMARKS))

    assert (await reigns.begin()).term == log.term + 1
    assert reigns.keys == ["state"]


async def test_a_deposed_owner_does_not_move_the_landmark_back(reigns: Reigns) -> None:
    deposed = await reigns.begin()
    await (await reigns.begin()).append(packed("later"))

    with pytest.raises(BrokerUnavailable):
        await deposed.checkpoint(packed("state"))
    reigns.broker.cut()

    assert await reigns.lose_landmarks() == [Landmark(2)]


async def test_one_landmark_is_left_whatever_has_happened(reigns: Reigns) -> None:
    channel = await (await reigns.connection()).channel()
    await channel.declare(LANDMARKS)
    for body in (b"\xc1", codec.encode(Landmark(7)), codec.encode(Landmark(5))):
        await channel.publish(body, topology.queue_address(LANDMARKS))

    assert (await reigns.begin()).term == 8
    reigns.broker.cut()  # what the reign may still hold goes back

    assert await reigns.lose_landmarks() == [Landmark(8)]


async def test_the_beginning_of_a_reign_is_no_record_of_the_state_but_may_be_told(
    reigns: Reigns,
) -> None:
    await reigns.begin()
    await reigns.begin()

    assert [type(one) for one in reigns.replayed] == [ReignBegan]

"""What a client was written and has not confirmed: gateway/unconfirmed.py."""

import asyncio
import time

import pytest

from gateway import unconfirmed as module
from gateway.handover import Handover, Parcel
from gateway.unconfirmed import CONFIRM_SECONDS, MAX_UNCONFIRMED, REMEMBERED, Unconfirmed
from shared.trail import Trail
from tests.unit.builders import direct_delivery


def handover(message_id: str = "dm_1") -> Handover:
    step = Trail("gateway", "n1", time.time_ns).begin("deliver", message_id, "")
    return Handover(direct_delivery(message_id=message_id), Parcel(1, lambda: None), step)


class Waiting(Unconfirmed):
    """Notes what it has let pass."""

    def __init__(self) -> None:
        self.lapsed: list[Handover] = []
        self._passed = asyncio.Event()
        super().__init__(self._let_pass)

    def _let_pass(self, handover: Handover) -> None:
        self.lapsed.append(handover)
        self._passed.set()

    async def let_pass(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.lapsed) < count:
                self._passed.clear()
                await self._passed.wait()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONFIRM_SECONDS", 0.02)


async def test_what_is_confirmed_is_served_and_known():
    waiting, one, two = Waiting(), handover("a"), handover("b")
    assert waiting.add(one)
    assert waiting.add(two)
    assert not waiting.has_confirmed("a")

    assert list(waiting.confirm(["a"])) == [one]
    assert waiting.has_confirmed("a")
    assert not waiting.has_confirmed("b")
    assert list(waiting.confirm(["a", "unknown"])) == []
    assert list(waiting.clear()) == [two]


async def test_a_message_that_comes_again_is_not_to_be_written_and_both_are_served_at_once():
    waiting, one, again = Waiting(), handover("a"), handover("a")
    assert waiting.add(one)
    assert not waiting.add(again)

    assert list(waiting.confirm(["a"])) == [one, again]


async def test_the_client_must_confirm_first_when_the_bound_is_reached():
    waiting = Waiting()
    for number in range(MAX_UNCONFIRMED):
        assert not waiting.full
        waiting.add(handover(f"dm_{number}"))
    assert waiting.full

    list(waiting.confirm(["dm_7"]))
    assert not waiting.full
    list(waiting.clear())


@pytest.mark.usefixtures("hasty")
async def test_what_is_not_confirmed_in_time_lapses_and_nothing_else():
    waiting, one, two, late = Waiting(), handover("a"), handover("b"), handover("c")
    waiting.add(one)
    waiting.add(two)
    list(waiting.confirm(["a"]))
    await waiting.let_pass(1)
    waiting.add(late)
    await waiting.let_pass(2)

    assert waiting.lapsed == [two, late]
    assert not waiting.has_confirmed("b")
    assert list(waiting.confirm(["b"])) == []
    assert waiting.has_confirmed("b")


@pytest.mark.usefixtures("hasty")
async def test_each_has_its_own_time():
    waiting, one, two = Waiting(), handover("a"), handover("b")
    waiting.add(one)
    await asyncio.sleep(0.015)
    waiting.add(two)
    await waiting.let_pass(1)

    assert waiting.lapsed == [one]
    await waiting.let_pass(2)
    assert waiting.lapsed == [one, two]


@pytest.mark.usefixtures("hasty")
async def test_after_the_client_is_gone_nothing_lapses():
    waiting, one, two = Waiting(), handover("a"), handover("b")
    waiting.add(one)
    waiting.add(two)

    assert list(waiting.clear()) == [one, two]
    await asyncio.sleep(0.05)
    assert not waiting.lapsed


async def test_not_every_confirmation_is_remembered_for_ever():
    waiting = Waiting()
    for number in range(REMEMBERED + 1):
        waiting.add(handover(f"dm_{number}"))
        list(waiting.confirm([f"dm_{number}"]))

    assert not waiting.has_confirmed("dm_0")
    assert waiting.has_confirmed("dm_1")


def test_ten_seconds_are_promised():
    assert CONFIRM_SECONDS == 10

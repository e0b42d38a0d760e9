"""Who waits for the answer to which command."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from gateway.core.tally import Tally
from shared.errors import OutcomeUnknown
from shared.messages.answers import Answer

ANSWER_SECONDS = 4.5
"""For the owner and all receipts; a command is answered within 5 s."""

RECEIPT_SECONDS = 1.0
"""For the nodes to report once the owner has said what becomes of a broadcast (A5)."""


STEPS: tuple[Callable[[Tally], bool], ...] = (
    lambda tally: tally.answered,
    lambda tally: tally.complete or tally.pending,
    lambda tally: tally.complete,
)
"""What is waited for, one after the other, each for a time of its own."""


class Waiter:
    """Somebody who waits for a tally; ``seconds`` are for each step after the first."""

    def __init__(self, tally: Tally, *seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[Tally] = self._loop.create_future()
        self._tally = tally
        self._seconds = seconds
        self._step = 0
        self._deadline = self._loop.time() + ANSWER_SECONDS
        self._timer = self._loop.call_at(self._deadline, self._give_up)

    def look(self) -> None:
        """Be done if nothing more is to be waited for, or go on with the next step."""
        before = self._step
        while self._step < len(STEPS) and STEPS[self._step](self._tally):
            self._step += 1
        if self._step == before or self.outcome.done():
            return
        self.forget()
        if self._step == len(STEPS):
            self.outcome.set_result(self._tally)
        else:
            due = self._loop.time() + self._seconds[self._step - 1]
            self._timer = self._loop.call_at(min(due, self._deadline), self._give_up)

    def forget(self) -> None:
        """Wait no longer."""
        self._timer.cancel()

    def _give_up(self) -> None:
        if self.outcome.done():
            return
        if self._tally.answered:
            self.outcome.set_result(self._tally)
        else:
            self.outcome.set_exception(OutcomeUnknown(outcome="unknown"))


@dataclass(eq=False, slots=True)
class Waiting:
    """A command that was sent and is not answered in full."""

    tally: Tally = field(default_factory=Tally)
    waiters: list[Waiter] = field(default_factory=list)


class Answers:
    """Collects answers and receipts by the id minted for each command."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._asked: dict[str, asyncio.Future[Answer]] = {}
        self._workers: dict[str, asyncio.Future[bytes]] = {}

    def pending(self, ask: str) -> bool:
        """Whether somebody waits for this already."""
        return ask in self._waiting

    async def one(self, ask: str) -> Answer:
        """Wait for the only answer to a question.

        Raises:
            OutcomeUnknown: it did not come in time.
        """
        asked: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[ask] = asked
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await asked
        except TimeoutError as error:
            raise OutcomeUnknown(outcome="unknown") from error
        finally:
            del self._asked[ask]

    def take(self, answer: Answer) -> bool:
        """Take in what arrived; return whether anybody here waits for it. Too late is no use."""
        asked = self._asked.get(answer.ask)
        if asked is not None and not asked.done():
            asked.set_result(answer)
        if (waiting := self._waiting.get(answer.ask)) is not None:
            waiting.tally.add(answer)
            for waiter in waiting.waiters:
                waiter.look()
        return asked is not None or waiting is not None

    async def of_worker(self, ask: str, sending: Awaitable[None]) -> bytes:
        """Send a command to a worker and wait for the answer (X1).

        Raises:
            OutcomeUnknown: it did not come in time.
        """
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._workers[ask] = answered
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await sending
                return await answered
        except TimeoutError as error:
            raise OutcomeUnknown(outcome="unknown") from error
        finally:
            del self._workers[ask]

    def take_of_worker(self, ask: str, body: bytes) -> None:
        """Take in what a worker has answered. The first answer counts."""
        expected = self._workers.get(ask)
        if expected is not None and not expected.done():
            expected.set_result(body)

    def collect(
        self, ask: str, receipt_seconds: float, confirm_seconds: float = 0.0
    ) -> "asyncio.Future[Tally]":
        """Return what is done once the tally is complete, or the nodes' time is up.

        Once clients have a direct message, they have ``confirm_seconds`` to confirm it (R2). It
        fails with OutcomeUnknown if the owner does not answer in time.

        Several may wait for the same command; each gets the same tally.
        """
        if (waiting := self._waiting.get(ask)) is None:
            waiting = self._waiting[ask] = Waiting()
        waiter = Waiter(waiting.tally, receipt_seconds, confirm_seconds)
        waiting.waiters.append(waiter)
        waiter.outcome.add_done_callback(partial(self._leave, ask, waiter))
        waiter.look()
        return waiter.outcome

    def _leave(self, ask: str, waiter: Waiter, _: "asyncio.Future[Tally]") -> None:
        waiter.forget()
        waiters = self._waiting[ask].waiters
        waiters.remove(waiter)
        if not waiters:
            del self._waiting[ask]

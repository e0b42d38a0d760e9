"""Who waits for the answer to which command."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gateway.core.tally import Tally
from shared.errors import OutcomeUnknown
from shared.messages.answers import Answer

ANSWER_SECONDS = 4.5
"""For the owner and all receipts; a command is answered within 5 s."""

RECEIPT_SECONDS = 1.0
"""For the nodes to report once the owner has said what becomes of a broadcast (A5)."""


@dataclass(eq=False)
class Waiting:
    """A command that was sent and is not answered in full."""

    tally: Tally = field(default_factory=Tally)
    progress: asyncio.Event = field(default_factory=asyncio.Event)
    waiters: int = 0


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

    def take(self, answer: Answer) -> None:
        """Take in what arrived. What comes too late is of no use to anybody."""
        asked = self._asked.get(answer.ask)
        if asked is not None and not asked.done():
            asked.set_result(answer)
        if (waiting := self._waiting.get(answer.ask)) is not None:
            waiting.tally.add(answer)
            waiting.progress.set()

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

    async def collect(
        self, ask: str, receipt_seconds: float, confirm_seconds: float = 0.0
    ) -> Tally:
        """Wait until the tally is complete, or until the nodes' time is up.

        Once clients have a direct message, they have ``confirm_seconds`` to confirm it (R2).

        Several may wait for the same command; each gets the same tally.

        Raises:
            OutcomeUnknown: the owner did not answer in time.
        """
        waiting = self._waiting.setdefault(ask, Waiting())
        waiting.waiters += 1
        tally = waiting.tally
        clock = asyncio.get_running_loop().time
        deadline = clock() + ANSWER_SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                await _until(waiting, lambda: tally.answered)
            async with asyncio.timeout_at(min(deadline, clock() + receipt_seconds)):
                await _until(waiting, lambda: tally.complete or tally.pending)
            async with asyncio.timeout_at(min(deadline, clock() + confirm_seconds)):
                await _until(waiting, lambda: tally.complete)
        except TimeoutError as error:
            if not tally.answered:
                raise OutcomeUnknown(outcome="unknown") from error
        finally:
            waiting.waiters -= 1
            if not waiting.waiters and self._waiting.get(ask) is waiting:
                del self._waiting[ask]
        return tally


async def _until(waiting: Waiting, reached: Callable[[], bool]) -> None:
    while not reached():
        waiting.progress.clear()
        await waiting.progress.wait()

"""A process that is told to stop ends, whatever its libraries do."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from shared.broker.memory import MemoryBroker
from shared.process.run import NOT_ENDED, Service, run
from shared.settings import Settings
from shared.trail import Trail


async def deaf(times: int) -> None:
    """Wait on, as often as it is told to end; libraries do so in their ``finally``."""
    for _ in range(times):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


def run_a_service_with_a_deaf_task(times: int) -> None:
    @asynccontextmanager
    async def serve(
        _settings: Settings, _registry: CollectorRegistry, _trail: Trail
    ) -> AsyncIterator[Service]:
        task = asyncio.create_task(deaf(times))
        never = asyncio.get_running_loop().create_future()
        yield Service(lambda: not task.done(), never, MemoryBroker())

    run("router", serve, mode="development", log_json=False)


@pytest.mark.parametrize(
    ("times", "status", "says"),
    [
        (1, 0, []),
        (2, 0, ["do not end"]),
        (1000, NOT_ENDED, ["do not end", "ended by force"]),
    ],
)
async def test_a_process_whose_task_does_not_heed_its_end_ends_nevertheless_and_names_it(
    times: int, status: int, says: list[str]
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.component.test_stopping", str(times), stderr=PIPE
    )
    assert process.stderr is not None
    try:
        while b"admin port" not in (line := await process.stderr.readline()):
            assert line, "it has ended by itself"
        process.send_signal(signal.SIGTERM)
        told = (await process.stderr.read()).decode()
        assert await process.wait() == status
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    for words in ("do not end", "ended by force"):
        lines = [line for line in told.splitlines() if words in line]
        assert all("coro=<deaf()" in line for line in lines)
        assert bool(lines) == (words in says)


if __name__ == "__main__":
    run_a_service_with_a_deaf_task(int(sys.argv[1]))

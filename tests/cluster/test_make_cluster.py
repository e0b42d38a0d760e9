"""``make cluster``: the services as processes of their own, started and stopped by a person."""

import asyncio
import os
import re
import signal
from pathlib import Path

import pytest

from tests.support.cluster import clients, free_ports

pytestmark = pytest.mark.rabbitmq

ROOT = Path(__file__).parents[2]


async def test_it_serves_two_gateways_and_ctrl_c_leaves_nothing_behind(
    rabbitmq_url: str,
) -> None:
    [first] = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        "make",
        "cluster",
        cwd=ROOT,
        env={
            **os.environ,
            "REALTIME_PORT": str(first),
            "REALTIME_AMQP_URL": rabbitmq_url,
            "PYTHONUNBUFFERED": "1",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    printed = ""
    try:
        async with asyncio.timeout(90):
            while "Ctrl-C stops everything" not in printed:
                line = await process.stdout.readline()
                assert line, printed
                printed += line.decode()
        urls = [f"ws://localhost:{first + n}/ws" for n in range(2)]
        async with clients((urls[0], "alice"), (urls[1], "bob")) as (alice, bob):
            await bob.subscribe("a.b")
            assert (await alice.broadcast("a.b", 1))["recipients"] == 1
    finally:
        os.killpg(process.pid, signal.SIGINT)
        async with asyncio.timeout(60):
            await process.communicate()
    pids = [int(pid) for pid in re.findall(r"pid (\d+)", printed)]
    assert len(pids) == 6
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

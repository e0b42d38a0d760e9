"""``make cluster``: the services as processes of their own, started and stopped by a person."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from realtime_client import Client, CommandFailed
from tests.support.cluster import clients, free_ports

pytestmark = pytest.mark.rabbitmq

ROOT = Path(__file__).parents[2]


async def heard(speaker: Client) -> bool:
    """Return whether a broadcast reaches the one who wants it."""
    try:
        return bool((await speaker.broadcast("a.b", 2))["recipients"] == 1)
    except CommandFailed:
        return False


async def roles_seen(rabbitmq_url: str) -> set[str]:
    """Return what ``realtime cluster`` says who is there, and as what."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from standalone.command_line import main; main()",
        "cluster",
        "--once",
        env={**os.environ, "REALTIME_AMQP_URL": rabbitmq_url},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        printed, _ = await process.communicate()
    _, *rows = printed.decode().splitlines()
    return {" ".join(row.split()[:2]) for row in rows}


async def test_it_serves_two_gateways_starts_again_what_is_killed_and_ends_with_ctrl_c(
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
            assert await roles_seen(rabbitmq_url) == {
                "gateway-1 gateway",
                "gateway-2 gateway",
                "presence-1 presence",
                "presence-2 presence",
                "router-1 router",
                "router-2 router",
            }
            for pid in re.findall(r"router-\d +pid (\d+)", printed):
                os.kill(int(pid), signal.SIGKILL)
            async with asyncio.timeout(60):
                while printed.count("started again") < 2:
                    line = await process.stdout.readline()
                    assert line, printed
                    printed += line.decode()
                while not await heard(alice):  # noqa: ASYNC110 - no event tells a client
                    await asyncio.sleep(0.1)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        async with asyncio.timeout(60):
            await process.communicate()
    pids = [int(pid) for pid in re.findall(r"pid (\d+)", printed)]
    assert len(pids) == 6 + 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

"""What docs/extensions.md shows, run as it stands there."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from realtime_client import Client, CommandFailed, connect
from standalone.local_cluster import LocalCluster
from standalone.tokens import development_token
from tests.support.broker import Troubled
from tests.support.cluster import free_ports, url_of

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "extensions.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
PROGRAMS = [block for kind, block in BLOCKS if kind == "python"]
COMMANDS = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
SERVE, ASK, WORKER = [line for line in COMMANDS if line.startswith(".venv/bin/realtime ")]
RESULT = {"done": "special", "for": "alice"}
START_SECONDS = 60


def words(command: str) -> list[str]:
    """Split a documented command; run the ``realtime`` of the tests' own Python."""
    _, *rest = shlex.split(command)
    return [str(Path(sys.executable).with_name("realtime")), *rest]


@asynccontextmanager
async def running(arguments: list[str], until: str, **own: str) -> AsyncIterator[None]:
    """Run a process that has said that it is ready, until the end of the context."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        cwd=ROOT,
        env={**os.environ, **own},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            while until not in (line := (await process.stdout.readline()).decode()):
                assert line, "it has ended"
        yield
    finally:
        process.terminate()
        await process.communicate()


def ask(url: str) -> subprocess.CompletedProcess[str]:
    arguments = [*words(ASK), "--user", "alice"]
    environment = {**os.environ, "REALTIME_URL": url}
    return subprocess.run(
        arguments, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def test_the_example_is_the_one_that_is_there() -> None:
    example = (ROOT / "extensions" / "example.py").read_text()
    assert example.endswith(f"\n{PROGRAMS[0]}")


async def test_in_one_process() -> None:
    [port] = free_ports(1)
    async with running(words(SERVE), "admin port", REALTIME_PORT=str(port)):
        done = await asyncio.to_thread(ask, f"ws://localhost:{port}/ws")
    assert json.loads(done.stdout) == RESULT, done


@pytest.mark.rabbitmq
async def test_as_a_worker_of_a_cluster(cluster: LocalCluster, rabbitmq: Troubled) -> None:
    [exported] = [line for line in COMMANDS if line.startswith("export ")]
    settings = dict(part.split("=", 1) for part in shlex.split(exported)[1:])
    settings["REALTIME_AMQP_URL"] = rabbitmq.url
    async with running(words(WORKER), "action=serve", **settings):
        done = await asyncio.to_thread(ask, url_of(cluster, 1))
    assert json.loads(done.stdout) == RESULT, done


@pytest.mark.rabbitmq
async def test_the_program_that_knows_nothing_but_amqp(
    cluster: LocalCluster, rabbitmq: Troubled, tmp_path: Path
) -> None:
    program = tmp_path / "worker.py"
    program.write_text(PROGRAMS[-1])
    environment = {**os.environ, "REALTIME_AMQP_URL": rabbitmq.url}
    process = await asyncio.create_subprocess_exec(sys.executable, str(program), env=environment)
    try:
        async with await connect(url_of(cluster, 0), development_token("alice")) as client:
            async with asyncio.timeout(START_SECONDS):
                while (result := await reversed_text(client)) is None:
                    assert process.returncode is None
        assert result == "abc"
    finally:
        process.terminate()
        await process.wait()


async def reversed_text(client: Client) -> object:
    """Ask the program; None while it is not there yet."""
    try:
        result, _ = await client.command("X-Reverse", {"text": "cba"})
    except CommandFailed as error:
        if error.code not in {404, 503}:
            raise
        return None
    return result


REALTIME = words(SERVE)[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([REALTIME, "worker"], "name a module"),
        ([REALTIME, "worker", "no_such_module"], "no module named no_such_module"),
        ([REALTIME, "serve", "--extensions", "json"], "no handler in json"),
        ([sys.executable, "-m", "extensions"], "name a module"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_ends_with_2(arguments: list[str], told: str) -> None:
    environment = {**os.environ, "REALTIME_MODE": "development", "REALTIME_PORT": "0"}
    environment.pop("REALTIME_EXTENSIONS", None)
    done = subprocess.run(
        arguments,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert f"REALTIME_EXTENSIONS: {told}" in done.stderr
    assert "Traceback" not in done.stderr

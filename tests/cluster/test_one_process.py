"""``make run``: everything in one process, as a newcomer starts it."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from standalone.tokens import development_token
from tests.support.certificates import Authority
from tests.support.cluster import Hearing, clients, free_ports
from tests.support.reference_client import run_reference_client

ROOT = Path(__file__).parents[2]
REALTIME = Path(sys.executable).with_name("realtime")
START_SECONDS = 60
STEP_MS = 1000


class Started:
    """A running ``make run``, and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url
        self.lines: list[str] = []

    async def until_ready(self) -> None:
        """Read on until it has said that it listens and that it is ready, in whatever order."""
        assert self.process.stdout is not None
        missing = {"action=report", " url=http"}  # the admin port is opened after the clients'
        async with asyncio.timeout(START_SECONDS):
            while missing:
                line = (await self.process.stdout.readline()).decode()
                assert line, self.lines
                self.lines.append(line.rstrip())
                missing -= {words for words in missing if words in line}

    async def stop(self) -> None:
        """Press Ctrl-C, which reaches the whole foreground group, and wait until all is gone."""
        os.killpg(self.process.pid, signal.SIGINT)
        async with asyncio.timeout(20):
            rest, _ = await self.process.communicate()
        self.lines += rest.decode().splitlines()


@asynccontextmanager
async def make_run(scheme: str = "ws", **settings: str) -> AsyncIterator[Started]:
    [port] = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        "make",
        "run",
        cwd=ROOT,
        env={**os.environ, "REALTIME_PORT": str(port), "PYTHONUNBUFFERED": "1", **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    started = Started(process, f"{scheme}://localhost:{port}/ws")
    try:
        await started.until_ready()
        yield started
    finally:
        if process.returncode is None:
            await started.stop()


def realtime(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command, from a folder that is not the checkout."""
    return subprocess.run(
        [REALTIME, *arguments],
        cwd="/",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


async def test_the_references_own_client_resolves_every_step_within_a_second() -> None:
    async with make_run() as started:
        steps = await asyncio.to_thread(
            run_reference_client,
            started.url,
            development_token("alice"),
            development_token("bob"),
        )
    for name, step in steps.items():
        assert step["ms"] < STEP_MS, (name, step)


async def test_ctrl_c_stops_it_cleanly_and_a_second_one_does_not_disturb_the_first() -> None:
    async with make_run() as first:
        async with make_run() as second, clients((second.url, "bob")) as [bob]:
            assert (await bob.broadcast("a.b", 1))["status"] == "delivered"
            await second.stop()
            assert not [line for line in second.lines if "Traceback" in line]
            assert (await bob.closed) == 1012
            with pytest.raises(ProcessLookupError):
                os.killpg(second.process.pid, 0)
        async with clients((first.url, "alice")) as [alice]:
            assert (await alice.broadcast("a.b", 1))["status"] == "delivered"


async def test_its_metrics_are_those_of_the_process_and_of_all_services() -> None:
    async with make_run() as started:
        admin = [one for line in started.lines for one in re.findall(r"url=(http://\S+)", line)]
        assert len(admin) == 1, started.lines
        page = await asyncio.to_thread(urlopen, f"{admin[0]}/metrics")
        names = re.findall(r"^# TYPE (\w+)", page.read().decode(), re.MULTILINE)
    assert len(names) == len(set(names))
    found = {"_".join(name.split("_")[:2]) for name in names if not name.startswith("process_")}
    services = {f"realtime_{one}" for one in ("gateway", "router", "presence", "worker")}
    assert found == services | {"realtime_build", "realtime_broker", "realtime_event"}


async def test_it_prints_a_token_that_works() -> None:
    async with make_run() as started:
        [token] = [line for line in started.lines if re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", line)]
        done = await asyncio.to_thread(
            realtime, "pub", "--url", started.url, "--token", token, "chat.general", '{"a":1}'
        )
    assert json.loads(done.stdout)["status"] == "delivered", done


async def test_it_serves_wss_and_the_commands_trust_the_authority_that_they_are_told(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    cert_file, key_file = map(str, authority.issue("tls", "localhost"))
    async with make_run(
        "wss", REALTIME_TLS_CERT_FILE=cert_file, REALTIME_TLS_KEY_FILE=key_file
    ) as started:
        command = ("pub", "--url", started.url, "--user", "alice", "chat.general", '{"a":1}')
        done = await asyncio.to_thread(realtime, *command, SSL_CERT_FILE=str(authority.path))
        doubted = await asyncio.to_thread(realtime, *command)
    assert any(f"realtime sub --url {started.url} " in line for line in started.lines)
    assert json.loads(done.stdout)["status"] == "delivered", done
    assert doubted.returncode != 0
    assert "certificate verify failed" in doubted.stderr


async def test_people_can_talk_from_the_command_line() -> None:
    async with make_run() as started:
        listening = await asyncio.create_subprocess_exec(
            REALTIME,
            "sub",
            "--url",
            started.url,
            "--user",
            "bob",
            "chat.*",
            stdout=asyncio.subprocess.PIPE,
        )
        assert listening.stdout is not None
        try:
            async with clients((started.url, "watcher")) as [watcher]:
                await watcher.subscribe("presence.bob")
                hearing = Hearing(watcher)
                await hearing.until(lambda one: one["type"] == "Presence")
                hearing.stop()
            for command in (("pub", "chat.general", '{"x":1}'), ("dm", "bob", '{"y":2}')):
                arguments = (command[0], "--url", started.url, "--user", "alice", *command[1:])
                heard = None
                async with asyncio.timeout(20):
                    while heard is None:  # bob is online a moment before he is subscribed
                        done = await asyncio.to_thread(realtime, *arguments)
                        ack = json.loads(done.stdout)
                        if ack.get("recipients", 1):
                            heard = json.loads(await listening.stdout.readline())
                assert heard["data"]["payload"] in ({"x": 1}, {"y": 2})
        finally:
            listening.send_signal(signal.SIGINT)
            assert await listening.wait() == 0


def test_a_token_is_all_that_the_token_command_prints() -> None:
    done = realtime("token", "alice", "--ttl=-60", "--claims", '{"roles":["admin"]}')
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", done.stdout)
    assert not done.stderr


def test_wrong_settings_are_all_reported_and_end_the_start() -> None:
    environment = {**os.environ, "REALTIME_PORT": "many", "REALTIME_PARTITIONS": "0"}
    environment.pop("REALTIME_MODE", None)
    done = subprocess.run(
        [sys.executable, "-m", "gateway"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    for variable in ("PORT", "PARTITIONS", "JWT_SECRET", "JWT_ISSUER", "ALLOWED_ORIGINS"):
        assert f"REALTIME_{variable}:" in done.stderr

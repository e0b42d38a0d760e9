"""A cluster on this machine, each service a process of its own: ``make cluster``, and the tests."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Self

from standalone.private_rabbitmq import PrivateRabbitMQ, installed
from standalone.tokens import development_token

START_SECONDS = 60.0
STOP_SECONDS = 45.0
"""A gateway may take its window of 20 s to send its clients away, and some more."""

SHORT_LIFE_SECONDS = 5.0

_ADMIN_URL = re.compile(r"admin port.*url=(\S+)")


class NotStarted(Exception):
    """A process of the cluster ended or did not become ready."""


@dataclass
class Service:
    """One process of the cluster."""

    module: str
    node_id: str
    environment: Mapping[str, str]
    log: Path
    code: Path | None = None
    """The checkout that it runs; by default the one that this process runs."""

    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            NotStarted: it does not run.
        """
        if self._process is None:
            raise NotStarted(self.node_id)
        return self._process.pid

    def start(self) -> None:
        """Start it, on a fresh log."""
        with self.log.open("wb") as written:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                [sys.executable, "-m", *self._command()],
                env=self._environment(),
                cwd=self.code,  # ``-m`` looks there first, before whatever is installed
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,  # Ctrl-C is its owner's to hand on
            )

    def _command(self) -> list[str]:
        return [self.module]

    def _environment(self) -> dict[str, str]:
        whole = {**os.environ, **self.environment, "REALTIME_NODE_ID": self.node_id}
        return whole if self.code is None else {**whole, "PYTHONPATH": str(self.code)}

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """Ask it to stop; insist after a while. Return its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a paused one could not hear it
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def was_killed(self) -> bool:
        """Whether a signal has ended it."""
        return self._process is not None and (self._process.poll() or 0) < 0

    @property
    def admin_url(self) -> str | None:
        """Where its health and metrics are, once it has said so."""
        found = _ADMIN_URL.search(self.log.read_text(errors="replace"))
        return found[1] if found else None

    @property
    def ready(self) -> bool:
        """Whether it says that it can do its work."""
        return self.ask("/readyz") is not None

    def ask(self, path: str) -> str | None:
        """Return what its admin port answers; None for an error or no answer."""
        if (url := self.admin_url) is None:
            return None
        try:
            with urllib.request.urlopen(url + path, timeout=2) as answer:  # noqa: S310 - loopback
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return None


@dataclass
class LocalCluster:
    """Gateways, routers and presence services over one RabbitMQ."""

    amqp_url: str
    logs: Path
    gateway_ports: Iterable[int] = (8081, 8082)
    routers: int = 2
    presence: int = 2
    settings: Mapping[str, str] = field(default_factory=dict)
    services: list[Service] = field(default_factory=list)

    def start(self) -> None:
        """Start every process and wait until all are ready.

        Raises:
            NotStarted: one ended, or was not ready in time; its log is in the message.
        """
        for number in range(1, self.routers + 1):
            self.add("router", f"router-{number}")
        for number in range(1, self.presence + 1):
            self.add("presence_service", f"presence-{number}")
        for number, port in enumerate(self.gateway_ports, 1):
            self.add("gateway", f"gateway-{number}", REALTIME_PORT=str(port))
        self.wait_ready()

    def add(self, module: str, node_id: str, **own: str) -> Service:
        """Start one more process."""
        environment = {
            "REALTIME_MODE": "development",
            "REALTIME_AMQP_URL": self.amqp_url,
            **self.settings,
            **own,
        }
        service = Service(module, node_id, environment, self.logs / f"{node_id}.log")
        service.start()
        self.services.append(service)
        return service

    def wait_ready(self) -> None:
        """Wait until every process that runs is ready.

        Raises:
            NotStarted: one ended, or was not ready in time.
        """
        deadline = time.monotonic() + START_SECONDS
        for service in self.services:
            while not service.ready:
                if not service.running or time.monotonic() > deadline:
                    raise NotStarted(f"{service.node_id}\n{service.log.read_text()[-3000:]}")
                time.sleep(0.05)

    def of(self, module: str) -> list[Service]:
        """Return the processes of one service."""
        return [service for service in self.services if service.module == module]

    def stop(self) -> None:
        """Stop the gateways first, so that they can say goodbye."""
        for service in reversed(self.services):
            if service.running:
                service.signal(signal.SIGCONT)
                service.signal(signal.SIGTERM)
        for service in reversed(self.services):
            service.stop()
        self.services.clear()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _say(line: str = "") -> None:
    print(line, flush=True)  # noqa: T201 - what the person at the terminal waits for


def main() -> None:
    """Run a cluster until Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    first = int(os.environ.pop("REALTIME_PORT", "8081"))
    logs = Path(".realtime") / "cluster"
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            url = os.environ.get("REALTIME_AMQP_URL") or _private(stack)
            cluster = LocalCluster(url, logs, gateway_ports=(first, first + 1))
            stack.enter_context(cluster)
            _introduce(cluster, first)
            _supervise(cluster)
        except NotStarted as error:
            sys.exit(f"The cluster has stopped: {error}")
        except KeyboardInterrupt:
            _say("\nStopping")


def _interrupt(_number: int, _frame: object) -> None:
    """Stop, once: a second Ctrl-C must not cut the cleaning up short."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _private(stack: ExitStack) -> str:
    if not installed():
        sys.exit("RabbitMQ is needed: set REALTIME_AMQP_URL, or install rabbitmq-server")
    _say("Starting a private RabbitMQ")
    return stack.enter_context(PrivateRabbitMQ()).url


def _introduce(cluster: LocalCluster, first: int) -> None:
    for service in cluster.services:
        _say(f"{service.node_id:12} pid {service.pid:<8} {service.admin_url}/metrics")
    _say(f"\nDashboard: {cluster.of('gateway')[0].admin_url}/dashboard")
    _say(f"Gateways: ws://localhost:{first}/ws ws://localhost:{first + 1}/ws")
    _say(f"RabbitMQ: {cluster.amqp_url}")
    _say(f"Logs: {cluster.logs}\n\nA token for alice, good for an hour:\n")
    _say(f"{development_token('alice')}\n\nIn another terminal:\n")
    _say(f"  .venv/bin/realtime sub --url ws://localhost:{first + 1}/ws 'chat.*'")
    _say(f"  .venv/bin/realtime pub --url ws://localhost:{first}/ws chat.general '{{\"a\": 1}}'")
    _say("\nCtrl-C stops everything")


def _supervise(cluster: LocalCluster) -> NoReturn:
    """Start again what ends, as a supervisor would; give up on what ends at once.

    Raises:
        NotStarted: a process ended by itself soon after its start, so it would end again.
    """
    since = dict.fromkeys((service.node_id for service in cluster.services), time.monotonic())
    while True:
        time.sleep(0.5)
        for service in cluster.services:
            if service.running:
                continue
            lived = time.monotonic() - since[service.node_id]
            if lived < SHORT_LIFE_SECONDS and not service.was_killed:
                raise NotStarted(f"{service.node_id} ended at once; see {service.log}")
            service.start()
            _say(f"{service.node_id} has ended and is started again, pid {service.pid}")
            since[service.node_id] = time.monotonic()


if __name__ == "__main__":
    main()

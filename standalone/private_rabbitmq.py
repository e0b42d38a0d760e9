"""A RabbitMQ node of one's own, for as long as one needs it."""

import atexit
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

START_TIMEOUT = 60.0
START_TRIES = 3
STOP_TIMEOUT = 30.0

_LOOPBACK = "127.0.0.1"
_PORTS = range(20_000, 32_768)
"""Below the ephemeral ports: an outgoing connection must not sit on ours when we restart."""

_DEBIAN = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""What Debian's command on the PATH calls after it has changed user and directory."""


def installed() -> bool:
    """Whether this machine has what a private node needs."""
    return _server() is not None and shutil.which("epmd") is not None


def speaks_amqp(host: str, port: int) -> bool:
    """Whether a broker greets us there: a node listens before it can serve."""
    with suppress(OSError), socket.create_connection((host, port), timeout=1) as wire:
        wire.sendall(b"AMQP\x00\x00\x09\x01")
        return wire.recv(1) == b"\x01"
    return False


class PrivateRabbitMQ:
    """A node in a temporary directory, on free ports of the loopback interface.

    It runs in a session of its own, so Ctrl-C does not reach it: its owner stops it. Nodes that are
    to know each other need the same cookie.
    """

    def __init__(
        self, *, cookie: str = "", settings: Sequence[str] = (), erlang: Sequence[str] = ()
    ) -> None:
        self._cookie = cookie or secrets.token_hex(8)
        self._settings = settings
        self._erlang = erlang
        self._directory = Path(tempfile.gettempdir()) / f"realtime-rabbitmq-{secrets.token_hex(4)}"
        self._choose_ports()
        self._epmd: subprocess.Popen[bytes] | None = None
        self._beam: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running node."""
        if self._beam is None:
            raise RuntimeError("RabbitMQ does not run")
        return self._beam.pid

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"amqp://guest:guest@{_LOOPBACK}:{self._port}/"

    @property
    def name(self) -> str:
        """What other nodes call it."""
        return f"private{self._port}@localhost"

    def _choose_ports(self) -> None:
        self._port, self.distribution_port, self.epmd_port = (free_port() for _ in range(3))
        self._environment = self._make_environment()

    @property
    def serves(self) -> bool:
        """Whether it takes connections now."""
        return speaks_amqp(_LOOPBACK, self._port)

    def start(self) -> None:
        """Start the node and wait until it takes connections.

        Raises:
            RuntimeError: it is not installed, it ended, or it was not ready in time; nothing of it
                is left.
        """
        has_data = self._directory.exists()
        for _ in range(START_TRIES - 1):
            try:
                return self._start()
            except RuntimeError as error:
                if has_data or "eaddrinuse" not in str(error):
                    raise
                self._choose_ports()  # somebody else was quicker
        return self._start()

    def _start(self) -> None:
        server = _server()
        if server is None:
            raise RuntimeError("RabbitMQ is not installed")
        atexit.register(self.stop)
        try:
            self._prepare()
            self._launch(server)
            self._wait_until_ready()
        except BaseException:
            self._end_beam(signal.SIGKILL)
            self.stop()
            raise

    def restart(self) -> None:
        """Start again on the same data and ports, after ``kill`` or ``stop(keep_data=True)``."""
        self._end_beam(signal.SIGTERM)
        self.start()

    def kill(self) -> None:
        """End the node as a crash would; its data stays."""
        if self._beam is not None:
            self._beam.kill()
            self._beam.wait()

    def pause(self) -> None:
        """Let the node do nothing at all, until ``resume``."""
        if self._beam is not None:
            self._beam.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        if self._beam is not None:
            self._beam.send_signal(signal.SIGCONT)

    def stop(self, *, keep_data: bool = False) -> None:
        """End the node and all that belongs to it, or the node alone."""
        self._end_beam(signal.SIGTERM)
        if keep_data:
            return  # epmd stays, with what it was told of the node's peers
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None
        shutil.rmtree(self._directory, ignore_errors=True)
        atexit.unregister(self.stop)

    def ctl(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` on this node and return what it prints."""
        server = _server()
        if server is None:
            raise RuntimeError("RabbitMQ is not installed")
        command = [str(server.with_name("rabbitmqctl")), "--quiet", *arguments]
        done = subprocess.run(  # noqa: S603 (our own command, no shell)
            command, env=self._environment, check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _make_environment(self) -> dict[str, str]:
        home = self._directory
        cookie = f"-setcookie {self._cookie}"
        erlang = ["-kernel inet_dist_use_interface {127,0,0,1}", cookie, *self._erlang]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("RABBITMQ_")}
        return inherited | {
            "HOME": str(home),
            "ERL_EPMD_ADDRESS": _LOOPBACK,
            "ERL_EPMD_PORT": str(self.epmd_port),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(erlang),
            "RABBITMQ_CTL_ERL_ARGS": cookie,
            # Without these two the start script would stay as the parent of the Erlang machine.
            "RABBITMQ_ALLOW_INPUT": "",
            "detached": "1",
        }

    def _prepare(self) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        (self._directory / "enabled_plugins").write_text("[].\n")
        (self._directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {_LOOPBACK}:{self._port}\n"
            "log.file = false\nlog.console = true\nlog.console.level = warning\n"
            + "".join(f"{setting}\n" for setting in self._settings)
        )

    def _launch(self, server: Path) -> None:
        if self._epmd is None:
            # Ours, in the foreground: the node would start one that outlives it.
            epmd = shutil.which("epmd") or "epmd"
            self._epmd = self._spawn(
                [epmd, "-port", str(self.epmd_port), "-address", _LOOPBACK], "epmd.out"
            )
        self._beam = self._spawn([str(server)], "console.out")

    def _spawn(self, command: list[str], output: str) -> subprocess.Popen[bytes]:
        with (self._directory / output).open("ab") as written:
            return subprocess.Popen(  # noqa: S603 (our own command, no shell)
                command,
                env=self._environment,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self.serves:
            ended = self._beam is None or self._beam.poll() is not None
            if ended or time.monotonic() > deadline:
                said = (self._directory / "console.out").read_text(errors="replace")[-2000:]
                reason = "ended" if ended else f"was not ready within {START_TIMEOUT:.0f} s"
                raise RuntimeError(f"The private RabbitMQ {reason}. It said:\n{said}")
            time.sleep(0.05)

    def _end_beam(self, how: signal.Signals) -> None:
        beam, self._beam = self._beam, None
        if beam is None or beam.poll() is not None:
            return
        beam.send_signal(how)
        try:
            beam.wait(STOP_TIMEOUT)
        except BaseException as error:
            os.killpg(beam.pid, signal.SIGKILL)
            beam.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise


def _server() -> Path | None:
    if _DEBIAN.exists():
        return _DEBIAN
    found = shutil.which("rabbitmq-server")
    return Path(found).resolve() if found else None


def free_port() -> int:
    """Return a port on loopback that nothing uses, below those of outgoing connections."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((_LOOPBACK, port))
            return port

"""The load: many WebSocket clients of 127.0.0.1, in a native program on a core of its own."""

import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self, TypeVar

import msgspec

from benchmarks.native.build import built
from benchmarks.processes import last_core, on_cores

MARKER = "~0000000000~"
"""What each message holds; its digits become a running number."""

ID = "#0000000000#"
"""What else a message may hold, with the same number: no delivery, but what answers may repeat."""

CONNECT_SECONDS = 60.0
PATIENCE_SECONDS = 10.0
GRACE_SECONDS = 20.0
"""For an answer, beyond what the command itself may take."""

STOP_SECONDS = 5.0

R = TypeVar("R")


class LoadFailed(Exception):
    """The load's program refused a command, ended, or did not answer in time."""


@dataclass(frozen=True)
class Person:
    """A connection to open.

    It is ready after ``ready`` messages. Each hello is sent after so many messages.
    """

    port: int
    path: str
    ready: int = 0
    hellos: tuple[tuple[int, str], ...] = ()

    def line(self) -> str:
        """Return it for the load's program."""
        hellos = [f"{after}:{text}" for after, text in self.hellos]
        return _line(str(self.port), self.path, str(self.ready), *hellos)


@dataclass(frozen=True)
class Message:
    """What a connection says, complete with ``expected`` deliveries. The text holds `MARKER`."""

    speaker: int
    expected: int
    text: str

    def line(self) -> str:
        """Return it for the load's program."""
        return _line(str(self.speaker), str(self.expected), self.text)


@dataclass(frozen=True)
class Latency:
    """Percentiles, within 1 %."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What each answer tells."""

    closed: int
    """Connections that the server has closed, so far."""

    close_code: int
    """The last one's: 1006 without a close frame, 1005 if that has none; 0 if none was closed."""


@dataclass(frozen=True, kw_only=True)
class Connected(Answer):
    """What came of opening connections; times are from connect() until ready."""

    ready: int
    failed: int
    reason: str
    """Of the first failure: the HTTP status line, or what the system says."""

    seconds: float
    cpu_seconds: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, kw_only=True)
class Said(Answer):
    """What was said and delivered.

    ``surplus`` are deliveries of complete messages, ``late`` those that an earlier call gave up.
    ``seconds`` are from the first message to the last delivery. The CPU is the load's own.
    """

    messages: int
    deliveries: int
    missing: int
    surplus: int
    late: int
    seconds: float
    cpu_seconds: float
    delivery_ms: Latency
    message_ms: Latency


@dataclass(frozen=True, kw_only=True)
class Idle(Answer):
    """What came without being asked for."""

    seconds: float
    messages: int


@dataclass(frozen=True, kw_only=True)
class Dropped(Answer):
    """Connections that the load has closed."""

    dropped: int


class Clients:
    """Many clients, for as long as this context.

    Args:
        answer: a heartbeat's text and what is answered to it, as Engine.IO has them.
        patience: how long to wait for deliveries after the last message.
    """

    def __init__(
        self, *, answer: tuple[str, str] | None = None, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._patience = patience
        self._options = ["--patience", str(patience), *(["--answer", *answer] if answer else [])]
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes]
        self._directory: Path

    @property
    def pid(self) -> int:
        """The process id of the load's program."""
        return self._process.pid

    def __enter__(self) -> Self:
        """Start the load's program.

        Raises:
            NotBuilt: it could not be compiled.
        """
        program = str(built("clients"))
        self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        with on_cores(last_core()):
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [program, *self._options], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and with it all connections."""
        _pipe(self._process.stdin).close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _pipe(self._process.stdout).close()
        self._stack.close()

    def connect(self, people: Iterable[Person], *, concurrency: int = 100) -> Connected:
        """Open connections, so many at a time; wait until each is ready or has failed.

        Raises:
            LoadFailed: the program did not answer.
        """
        file = self._write(one.line() for one in people)
        return self._ask(f"connect {file} concurrency={concurrency}", Connected, CONNECT_SECONDS)

    def say(
        self,
        messages: Iterable[Message],
        *,
        seconds: float,
        window: int | None = None,
        rate: float | None = None,
        awake: bool = False,
    ) -> Said:
        """Say messages in turn, again and again; then wait for what is not delivered yet.

        Args:
            messages: what is said.
            seconds: for how long.
            window: so many messages are outstanding; or
            rate: so many are said each second, whatever is outstanding.
            awake: whether to look for deliveries all the time, and never sleep; to be woken costs
                the server. The CPU told is that of looking with success.

        Raises:
            LoadFailed: the program refused a message or did not answer.
        """
        pace = f"rate={rate}" if window is None else f"window={window}"
        file = self._write(one.line() for one in messages)
        command = f"say {file} awake={awake:d} seconds={seconds} {pace}"
        return self._ask(command, Said, seconds + self._patience)

    def idle(self, seconds: float) -> Idle:
        """Only listen.

        Raises:
            LoadFailed: the program did not answer.
        """
        return self._ask(f"idle seconds={seconds}", Idle, seconds)

    def drop(self, first: int, last: int) -> Dropped:
        """Close the connections from ``first`` to before ``last``, without a word.

        Raises:
            LoadFailed: the program did not answer.
        """
        return self._ask(f"drop {first} {last}", Dropped, 0)

    def _write(self, lines: Iterable[str]) -> Path:
        file = self._directory / "lines"
        file.write_text("".join(lines), encoding="utf-8")
        return file

    def _ask(self, command: str, answer: type[R], seconds: float) -> R:
        stdin = _pipe(self._process.stdin)
        try:
            stdin.write(f"{command}\n".encode())
            stdin.flush()
        except BrokenPipeError as error:
            raise LoadFailed(f"The load has ended before: {command}") from error
        line = self._read_line(time.monotonic() + seconds + GRACE_SECONDS)
        try:
            return msgspec.json.decode(line, type=answer)
        except msgspec.MsgspecError as error:
            raise LoadFailed(f"{command}: {line.decode(errors='replace')}") from error

    def _read_line(self, deadline: float) -> bytes:
        read = b""
        stdout = _pipe(self._process.stdout)
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while not read.endswith(b"\n"):
                if not selector.select(max(0, deadline - time.monotonic())):
                    raise LoadFailed("The load has not answered in time")
                if not (some := os.read(stdout.fileno(), 1 << 16)):
                    raise LoadFailed(f"The load has ended, with {self._process.wait(STOP_SECONDS)}")
                read += some
        return read


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101 - both are asked for
    return pipe


def _line(*fields: str) -> str:
    if any(set(one) & {"\t", "\0"} for one in fields):
        raise ValueError("A field holds a tab or a zero")
    return "\t".join(fields) + "\0"

"""Programs under measurement: on cores of their own, and ended with all that they started."""

import os
import re
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
POLL_SECONDS = 0.02
STOP_SECONDS = 10.0
TAIL_CHARACTERS = 2000
COOKIE = "REALTIME_BENCHMARK_PROGRAM"
"""In the environment of all that a program starts, by which even daemons are found again."""


class NotStarted(Exception):
    """A program ended, or was not ready in time."""


def cpu_seconds(pid: int) -> float:
    """Return the user and system time that all threads of a process have taken.

    Raises:
        FileNotFoundError: it is not there.
    """
    stat = _stat(pid)
    return (int(stat[11]) + int(stat[12])) / TICKS


def resident_bytes(pid: int) -> int:
    """Return how much memory a process holds at this moment.

    Raises:
        FileNotFoundError: it is not there.
    """
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def tree(pid: int) -> list[int]:
    """Return a process and its descendants, parents first."""
    children: dict[int, list[int]] = {}
    for one, stat in _processes():
        children.setdefault(int(stat[1]), []).append(one)
    found = [pid]
    for one in found:  # which grows meanwhile
        found += children.get(one, [])
    return found


def last_core() -> set[int]:
    """Return the core that the load has for itself; with one core, that one."""
    return {max(os.sched_getaffinity(0))}


def other_cores() -> set[int]:
    """Return the cores that the load leaves; with one core, that one."""
    cores = os.sched_getaffinity(0)
    return cores - last_core() or cores


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Have what is started in this context run on these cores: children inherit them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Program:
    """A program that runs for as long as this context, ready when it is entered.

    It is ready when a TCP port of this machine answers, or a line of its output fits a pattern.
    Its output is in ``log``.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        port: int | None = None,
        line: str | None = None,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        cores: set[int] | None = None,
        seconds: float = 60.0,
    ) -> None:
        self.command = command
        self.log = log
        self.port = port
        self.line = re.compile(line, re.MULTILINE) if line else None
        self.cookie = secrets.token_hex(8)
        whole = os.environ if environment is None else environment
        self.environment = {**whole, COOKIE: self.cookie}
        self.directory = directory
        self.cores = other_cores() if cores is None else cores
        self.seconds = seconds
        self._process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        """Start it and wait until it is ready.

        Raises:
            NotStarted: it ended or was not ready in time; the end of its log is in the message.
        """
        with self.log.open("wb") as written, on_cores(self.cores):
            self._process = subprocess.Popen(  # noqa: S603 - what the caller wants to measure
                self.command,
                env=self.environment,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it and all that it started."""
        self.stop()

    def stop(self) -> None:
        """Ask it to end, and after a while end whatever it has left behind."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._end_left(number)

    def _end_left(self, number: signal.Signals) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        for one in self._left():
            _send(one, number)
        while self._left() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _left(self) -> list[int]:
        """Return the processes of its session, and those with its cookie. Zombies have ended."""
        mine = str(self.pid)
        return [
            one
            for one, stat in _processes()
            if stat[0] != "Z" and (stat[3] == mine or self.cookie in _environment(one))
        ]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.seconds
        while not self._is_ready():
            if self._process.poll() is not None:
                raise NotStarted(f"{self._name} has ended:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise NotStarted(f"{self._name} is not ready in {self.seconds} s:\n{self.tail()}")
            time.sleep(POLL_SECONDS)

    def _is_ready(self) -> bool:
        if self.line and not self.line.search(self.log.read_text(errors="replace")):
            return False
        if self.port is None:
            return True
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def _name(self) -> str:
        return Path(self.command[0]).name

    def tail(self) -> str:
        """Return the end of its output."""
        return self.log.read_text(errors="replace")[-TAIL_CHARACTERS:]


def _stat(pid: int) -> list[str]:
    """Return what proc(5) tells of a process: its state, its parent, its group, its session ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _processes() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), _stat(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):  # it has just ended
                continue


def _environment(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:  # another user's, or it has just ended
        return ""


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has just ended
        os.kill(pid, number)

"""What a Python process is at: py-spy looks many times a second, from outside."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import last_core, on_cores

RATE = 200
LONGEST_SECONDS = 60
STOP_SECONDS = 20.0


@contextmanager
def sampling(pid: int, into: Path) -> Iterator[None]:
    """Look at a process for as long as this context; what was seen is in a file afterwards."""
    command = [
        str(Path(sys.executable).with_name("py-spy")),
        "record",
        *("--pid", str(pid), "--output", str(into)),
        *("--rate", str(RATE), "--duration", str(LONGEST_SECONDS)),
        *("--format", "raw", "--function", "--nonblocking"),
    ]
    with on_cores(last_core()):  # it takes nothing from the process that it looks at
        looking = subprocess.Popen(  # noqa: S603 - a program of this environment
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    try:
        yield
    finally:
        looking.send_signal(signal.SIGINT)  # by which it writes what it has
        looking.wait(STOP_SECONDS)


def own_samples(found: Path) -> Counter[str]:
    """Return in which function a process was how often, not counting those that it called.

    What a function calls that is not written in Python, such as a write to a socket, is its own.
    """
    own: Counter[str] = Counter()
    for line in found.read_text().splitlines():
        stack, _, times = line.rpartition(" ")
        function = stack.rpartition(";")[2]
        own[function or "unknown"] += int(times)
    return own

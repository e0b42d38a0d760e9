"""Looking at what a process is at: benchmarks/sampling.py."""

import sys
import time
from pathlib import Path

from benchmarks.processes import Program
from benchmarks.sampling import own_samples, sampling

BUSY = """
def inner():
    return sum(range(10_000))

def outer():
    while True:
        inner()

print("ready", flush=True)
outer()
"""


def test_a_sample_is_of_the_innermost_function(tmp_path: Path) -> None:
    found = tmp_path / "found"
    found.write_text("main (a.py:1);work (a.py:2) 3\nmain (a.py:1) 1\nmain (a.py:1); 2\n")

    assert own_samples(found) == {"work (a.py:2)": 3, "main (a.py:1)": 1, "unknown": 2}


def test_what_a_process_is_at_is_seen_from_outside(tmp_path: Path) -> None:
    found = tmp_path / "found"
    with Program([sys.executable, "-c", BUSY], log=tmp_path / "log", line="ready") as program:
        with sampling(program.pid, found):
            time.sleep(1.0)  # it is busy all the time; to look takes time

        [(function, _)] = own_samples(found).most_common(1)
    assert function.startswith("inner ")

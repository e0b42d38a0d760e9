"""Programs under measurement are pinned, measured, and leave nothing behind."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks import processes
from benchmarks.processes import (
    NotStarted,
    Program,
    cpu_seconds,
    last_core,
    other_cores,
    resident_bytes,
    tree,
)

FAMILY = """
import os, subprocess, sys, time
daemon = subprocess.Popen(["setsid", "sleep", "600"])
child = subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 600 & wait"])
print("family", daemon.pid, child.pid, sorted(os.sched_getaffinity(0)), flush=True)
time.sleep(600)
"""
SPINS = "print('ready', flush=True)\nwhile True: pass"


@pytest.fixture(autouse=True)
def short_stop(monkeypatch):
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.5)  # one of the family does not listen


def python(code: str, log: Path, **options: object) -> Program:
    return Program([sys.executable, "-c", code], log=log / "log", **options)


def runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_program_ends_with_all_that_it_started(tmp_path):
    with python(FAMILY, tmp_path, line="^family") as program:
        whole = tree(program.pid)
        _, daemon, child, *_ = (tmp_path / "log").read_text().split()
        assert whole[0] == program.pid
        assert {int(daemon), int(child)} < set(whole)
        assert os.getpid() in tree(os.getppid())

    assert [pid for pid in whole if runs(pid)] == []


def test_a_program_runs_on_the_cores_that_the_load_leaves(tmp_path):
    mine = os.sched_getaffinity(0)
    with python(FAMILY, tmp_path, line="^family"):
        assert str(sorted(other_cores())) in (tmp_path / "log").read_text()
    assert os.sched_getaffinity(0) == mine
    assert len(mine) == 1 or not last_core() & other_cores()


def test_time_and_memory_of_a_process_are_told(tmp_path):
    with python(SPINS, tmp_path, line="ready") as program:
        before = cpu_seconds(program.pid)
        while cpu_seconds(program.pid) - before < 0.1:
            pass
        assert 1 << 20 < resident_bytes(program.pid) < 1 << 30


def test_a_program_that_ends_is_told_with_the_end_of_its_log(tmp_path):
    with pytest.raises(NotStarted, match="has ended:\nno such luck"):
        python("raise SystemExit('no such luck')", tmp_path, line="ready").__enter__()


def test_a_program_that_is_not_ready_in_time_is_ended(tmp_path):
    program = python(SPINS, tmp_path, line="never", seconds=0.3)
    with pytest.raises(NotStarted, match=r"not ready in 0.3 s:\nready"):
        program.__enter__()
    assert not runs(program.pid)

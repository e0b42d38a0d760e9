"""The checkers of other people's formats, in the environment that ``make test`` makes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.compose.stack import ROOT

TOOLS = ROOT / ".venv" / "tools" / "bin"


def tool(name: str) -> Path:
    """Return a checker's path."""
    path = TOOLS / name
    if not path.exists():
        pytest.fail(f"{name} is not there: run `make .venv/tools/installed`")
    return path


def check(name: str, *arguments: str | Path, cwd: Path = ROOT) -> str:
    """Have a checker find nothing; return what it prints."""
    done = subprocess.run(
        [tool(name), *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def kustomize(directory: Path) -> str:
    """Return what ``kubectl apply --kustomize`` would send."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.fail("kubectl is needed, 1.27 or newer")
    done = subprocess.run(
        [kubectl, "kustomize", directory], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

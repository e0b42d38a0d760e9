"""Runs the TypeScript client of the protocol reference, compiled as it stands."""

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.support.debian import install

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "tests" / "cluster" / "reference_client"
BUILDS = ROOT / "build" / "reference_client"
FILES = (
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "reference-client.ts",
    "drive.js",
)


class ReferenceClientFailed(AssertionError):
    """A step of the reference client failed; ``steps`` says which, ``log`` what it printed."""

    def __init__(self, steps: dict[str, Any], log: str) -> None:
        self.steps = steps
        self.log = log
        super().__init__(f"{json.dumps(steps, indent=2)}\n{log}")


def run_reference_client(url: str, alice_token: str, bob_token: str) -> dict[str, Any]:
    """Let alice do, with the reference's own client, all that it can do.

    She subscribes, broadcasts and sends a direct message to bob, who is online, and to a user who
    is not. Each must resolve within a second. It blocks: call it with ``asyncio.to_thread`` if the
    server runs in the same event loop. The first call downloads and compiles.

    Args:
        url: The WebSocket endpoint, without a query.
        alice_token: The token of the user who acts.
        bob_token: The token, a JWT, of the user who receives.

    Returns:
        ``{step: {"ms": milliseconds, "result": what it resolved to}}``

    Raises:
        ReferenceClientFailed: a step did not resolve in time, or to an error.
        subprocess.CalledProcessError: it could not be installed or compiled.
    """
    run = subprocess.run(
        ["node", "drive.js", url, alice_token, bob_token],
        cwd=_build(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    steps: dict[str, Any] = json.loads(run.stdout) if run.stdout else {}
    if run.returncode != 0:
        raise ReferenceClientFailed(steps, run.stderr)
    return steps


def _build() -> Path:
    """Install and compile, unless these very files have been compiled before."""
    contents = b"".join((SOURCE / name).read_bytes() for name in FILES)
    built = BUILDS / hashlib.sha256(contents).hexdigest()[:16]
    if built.exists():
        return built
    BUILDS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILDS) as scratch:
        work = Path(scratch) / "work"
        work.mkdir()
        for name in FILES:
            shutil.copy(SOURCE / name, work)
        # The reference's file declares a class and exports nothing.
        with (work / "reference-client.ts").open("a") as source:
            source.write("\nexport { RealtimeProtocolClient };\n")
        _npm("ci", "--no-audit", "--no-fund", cwd=work)
        _npm("run", "build", cwd=work)
        try:
            work.rename(built)
        except OSError:
            if not built.exists():  # unless another run was quicker
                raise
    return built


def _npm(*arguments: str, cwd: Path) -> None:
    if shutil.which("npm") is None and not install("nodejs", "npm"):
        raise FileNotFoundError("Node.js with npm is needed to compile the reference's client")
    try:
        subprocess.run(
            ["npm", *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=True
        )
    except subprocess.CalledProcessError as error:
        error.add_note(f"{error.stdout}{error.stderr}")
        raise

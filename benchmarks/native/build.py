"""Compiles the native programs of the benchmark when their sources are newer than they are."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent
BUILT = SOURCES.parents[1] / ".realtime" / "benchmarks"
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror")


class NotBuilt(Exception):
    """There is no compiler, or it refused a source."""


def built(name: str) -> Path:
    """Return the program made of ``NAME.c``, compiled by ``$CC`` or ``cc`` if it is not up to date.

    Raises:
        NotBuilt: there is no compiler, or it refused the source.
    """
    program = BUILT / name
    newest = max(one.stat().st_mtime_ns for one in (*SOURCES.glob("*.h"), SOURCES / f"{name}.c"))
    if not program.exists() or program.stat().st_mtime_ns < newest:
        BUILT.mkdir(parents=True, exist_ok=True)
        # Renamed when it is whole: another run may want the same program at this moment.
        with tempfile.TemporaryDirectory(dir=BUILT) as directory:
            _compile(SOURCES / f"{name}.c", Path(directory) / name).replace(program)
    return program


def _compile(source: Path, program: Path) -> Path:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    try:
        subprocess.run(  # noqa: S603 - the compiler that the caller has chosen
            [*compiler, *FLAGS, str(source), "-o", str(program)],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
    except FileNotFoundError as error:
        raise NotBuilt(f"A C compiler is needed, {compiler[0]!r} is not there: set CC") from error
    except subprocess.CalledProcessError as error:
        raise NotBuilt(f"{source.name} does not compile:\n{error.stderr}") from error
    return program

"""Peers from Debian's packages, which are extracted and not installed: nchan, and Redis."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.peers.peer import PLACE, SERVERS, Broker, make_once, order
from benchmarks.peers.tongues import Nchan
from benchmarks.processes import Program, tree
from benchmarks.systems import System
from standalone.private_rabbitmq import free_port

NCHAN = ("nginx", "libnginx-mod-nchan")
PROGRAM = "usr/sbin/nginx"
MODULE = "usr/lib/nginx/modules/ngx_nchan_module.so"
COMPILED_IN = b"/var/lib/nginx/"
RELATIVE = b"./".ljust(len(COMPILED_IN), b"/")
"""nchan wants a directory for temporary files that only an installed nginx has."""

STARTED = "start worker process"
"""What nginx logs when it has more than the process that only listens."""

REDIS = ("redis-server", "redis-tools", "libatomic1", "libjemalloc2", "liblzf1")


def extract(place: Path, *packages: str) -> Mapping[str, str]:
    """Extract packages; return the environment in which their programs find their libraries.

    Raises:
        NotInstalled: this is no Debian, or it does not have them.
    """

    def make(place: Path) -> None:
        order("apt-get", "download", *packages, place=place)
        for package in place.glob("*.deb"):
            order("dpkg-deb", "--extract", str(package), str(place), place=place)

    make_once(place, " ".join(packages), make)
    return {"LD_LIBRARY_PATH": ":".join(map(str, place.glob("usr/lib/*-linux-gnu*")))}


class Redis:
    """A Redis that keeps nothing, for its publish and subscribe alone."""

    def __init__(self) -> None:
        self._program = "redis-server"
        self._environment: Mapping[str, str] = {}

    def install(self, directory: Path = PLACE) -> None:
        """Take the one on the PATH, or extract one; see ``Peer``."""
        if shutil.which(self._program) is None:
            self._environment = extract(directory / "redis", *REDIS)
            self._program = str(directory / "redis/usr/bin/redis-server")

    @contextmanager
    def run(self) -> Iterator[Broker]:
        """Run it."""
        port = free_port()
        options = ["--bind", "127.0.0.1", "--port", str(port), "--save", ""]
        with (
            TemporaryDirectory() as logs,
            Program(
                [self._program, *options],
                log=Path(logs) / "log",
                port=port,
                environment={**os.environ, **self._environment},
                cores=os.sched_getaffinity(0),
            ) as program,
        ):
            yield Broker("redis", f"redis://127.0.0.1:{port}", program.pid)


class NchanOnNginx:
    """nchan, a module of nginx."""

    name = "nchan"
    version = ""
    between = ""

    def __init__(self) -> None:
        self._place = Path()
        self._environment: Mapping[str, str] = {}

    def install(self, directory: Path = PLACE) -> None:
        """See ``Peer``."""
        self._place = directory / "nginx"
        self._environment = extract(self._place, *NCHAN)
        for one in (self._place / PROGRAM, self._place / MODULE):
            if COMPILED_IN in (program := one.read_bytes()):
                one.write_bytes(program.replace(COMPILED_IN, RELATIVE))
        package = next(self._place.glob("libnginx-mod-nchan_*.deb"))
        self.version = package.name.split("_")[1].rpartition("%3a")[2]

    @contextmanager
    def run(self, nodes: int = 1) -> Iterator[System]:
        """See ``Peer``."""
        port, module = free_port(), self._place / MODULE
        text = (SERVERS / "nginx.conf").read_text()
        with TemporaryDirectory() as directory:
            configuration = Path(directory) / "nginx.conf"
            configuration.write_text(text.replace("MODULE", str(module)).replace("PORT", str(port)))
            command = [str(self._place / PROGRAM), "-p", directory, "-c", "nginx.conf"]
            environment = {**os.environ, **self._environment}
            log = Path(directory) / "log"
            with Program(command, log=log, line=STARTED, environment=environment) as program:
                yield System(self.name, [port], {"node": tree(program.pid)}, Nchan())

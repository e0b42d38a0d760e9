"""The compose file's containers, from a clone and under a project name of their own."""

import json
import os
import pty
import re
import secrets
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.cluster import free_ports

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
TYPED_SECONDS = 300
OURS = ("gateway", "router", "presence", "secrets")
"""The services that run the image of the Dockerfile."""


def typed(document: str, heading: str) -> list[str]:
    """Return the shell lines of one section of a document, without their comments."""
    text = (ROOT / document).read_text()
    [section] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [re.sub(r"  +# .*", "", line) for block in blocks for line in block.splitlines()]


SECRETS, UP, SUB, PUB, DM, CLUSTER, SCALE = typed("README.md", "In containers")
OBSERVE = "docker compose --profile observe up --wait"


class Stack:
    """What a stranger has who types the README's lines in ``clone``, an empty directory.

    ``url`` is the balancer's. Nothing of the checkout is touched, its secrets least of all.
    """

    def __init__(self, clone: Path) -> None:
        self.clone = clone
        self._project = f"realtime-test-{secrets.token_hex(4)}"
        clients, admin, management, prometheus, grafana = free_ports(5)
        strange = {name: value for name, value in os.environ.items() if "REALTIME_" not in name}
        self.environment = strange | {
            "COMPOSE_PROJECT_NAME": self._project,
            "REALTIME_PORT": str(clients),
            "REALTIME_ADMIN_PORT": str(admin),
            "RABBITMQ_MANAGEMENT_PORT": str(management),
            "PROMETHEUS_PORT": str(prometheus),
            "GRAFANA_PORT": str(grafana),
            "REALTIME_DRAIN_SECONDS": "5",
        }
        self.url = f"ws://localhost:{clients}/ws"
        self.api = f"http://127.0.0.1:{admin}/api/v1"
        self.prometheus = f"http://127.0.0.1:{prometheus}"
        self.grafana = f"http://127.0.0.1:{grafana}"
        _copy_checkout(clone)
        own_image = {"services": {one: {"image": self._project} for one in OURS}}
        (clone / "docker-compose.override.yml").write_text(json.dumps(own_image))

    def type(self, line: str) -> str:
        """Run a line in a shell, as somebody in the clone does; return what it prints."""
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.clone,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TYPED_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    @contextmanager
    def terminal(self, line: str) -> Iterator[Iterator[str]]:
        """Run a line in a terminal until Ctrl-C; give the lines that it shows, as they come."""
        ours, its = pty.openpty()
        with (
            open(ours, "r+b", buffering=0) as screen,  # noqa: PTH123 - it has no path
            subprocess.Popen(
                ["sh", "-c", line],
                cwd=self.clone,
                env=self.environment,
                stdin=its,
                stdout=its,
                stderr=its,
                start_new_session=True,
            ) as running,
        ):
            os.close(its)
            yield (shown.decode().strip() for shown in screen)
            screen.write(b"\x03")
            assert running.wait(TYPED_SECONDS) == 0

    def up(self) -> None:
        """Make the secrets, start everything, and wait until all is healthy.

        Where no registry can be reached, all but Grafana, which nothing else needs.
        """
        self.type(SECRETS)
        self.type(UP)
        self.type(OBSERVE if self.has_image("grafana") else f"{OBSERVE} prometheus")

    def has_image(self, service: str) -> bool:
        """Whether Docker has a service's image, or can pull it."""
        image = COMPOSE["services"][service]["image"]
        command = f"docker image inspect {image} || docker pull {image}"
        return not subprocess.run(
            ["sh", "-c", command], capture_output=True, check=False
        ).returncode

    def down(self) -> None:
        """Take everything away, data included; nothing may be left."""
        self.type("docker compose --profile '*' down --volumes --timeout 60")
        ours = f"--filter label=com.docker.compose.project={self._project}"
        self.type(f"docker image rm --force {self._project}")
        self.type(f"docker image prune --force {ours}")
        for kind in ("container ls --all", "volume ls", "network ls", "image ls"):
            assert not self.type(f"docker {kind} --quiet {ours}"), kind

    def scale(self, gateways: int) -> None:
        """Have so many gateways, and touch nothing else."""
        self.type(SCALE.replace("gateway=4", f"gateway={gateways}"))

    def secret(self, name: str) -> str:
        """Return what ``realtime secrets`` has made."""
        return (self.clone / "secrets" / name).read_text().strip()

    def containers(self) -> dict[str, Mapping[str, Any]]:
        """Return what Docker tells of each container, by name."""
        ids = self.type("docker compose --profile '*' ps --quiet --all").split()
        told = json.loads(self.type(f"docker inspect {' '.join(ids)}"))
        return {one["Name"].lstrip("/"): one for one in told}

    def of(self, service: str) -> list[str]:
        """Return the names of a service's containers."""
        prefix = f"{self._project}-{service}-"
        return sorted(name for name in self.containers() if name.startswith(prefix))

    def started(self) -> dict[str, tuple[str, int]]:
        """Return when each container but the gateways' was started, and how often again."""
        return {
            name: (one["State"]["StartedAt"], one["RestartCount"])
            for name, one in self.containers().items()
            if "-gateway-" not in name
        }


def _copy_checkout(to: Path) -> None:
    """Copy what git tracks or would, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.split("\0"):
        if (source := ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, to / name)


def fetch(url: str, key: str = "", scheme: str = "Bearer") -> Any:
    """Return the JSON at a loopback address."""
    headers = {"Authorization": f"{scheme} {key}"} if key else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
        return json.load(answer)

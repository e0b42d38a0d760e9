"""The compose file's containers, under a project name of their own."""

import json
import os
import secrets
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.cluster import free_ports

ROOT = Path(__file__).parents[2]
UP_SECONDS = 300


class Stack:
    """What ``docker compose`` runs; ``url`` is the balancer's."""

    def __init__(self) -> None:
        self._project = f"realtime-test-{secrets.token_hex(4)}"
        clients, admin, management, prometheus = free_ports(4)
        self._environment = {
            "REALTIME_PORT": str(clients),
            "REALTIME_ADMIN_PORT": str(admin),
            "RABBITMQ_MANAGEMENT_PORT": str(management),
            "PROMETHEUS_PORT": str(prometheus),
            "REALTIME_DRAIN_SECONDS": "5",
        }
        self.url = f"ws://localhost:{clients}/ws"
        self.api = f"http://127.0.0.1:{admin}/api/v1"
        self.prometheus = f"http://127.0.0.1:{prometheus}"

    def compose(self, *arguments: str) -> str:
        """Run ``docker compose``; return what it prints."""
        command = ["docker", "compose", "--project-name", self._project, "--profile", "observe"]
        done = subprocess.run(
            [*command, *arguments],
            cwd=ROOT,
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            timeout=UP_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def up(self) -> None:
        """Build, make the secrets, start everything, and wait until all is healthy."""
        self.compose("run", "--rm", "--build", "secrets")
        self.compose("up", "--build", "--wait")

    def down(self) -> None:
        """Take everything away, data included."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "60")

    def scale(self, gateways: int) -> None:
        """Have so many gateways, and touch nothing else."""
        self.compose("up", "--wait", "--no-recreate", "--scale", f"gateway={gateways}")

    def containers(self) -> dict[str, Mapping[str, Any]]:
        """Return what Docker tells of each container, by name."""
        ids = self.compose("ps", "--quiet", "--all").split()
        told = subprocess.run(
            ["docker", "inspect", *ids], capture_output=True, text=True, check=True
        )
        return {one["Name"].lstrip("/"): one for one in json.loads(told.stdout)}

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


def fetch(url: str, key: str = "") -> Any:
    """Return the JSON at a loopback address."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
        return json.load(answer)

"""Installs what a fresh Debian machine lacks, where that is possible."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POLICY = Path("/usr/sbin/policy-rc.d")


def install(*packages: str) -> bool:
    """Install packages, their services not started; return whether that was possible."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    add = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    with _no_services():
        for command in (["apt-get", "update"], add):
            if subprocess.run(command, env=environment, check=False).returncode != 0:
                return False
    return True


@contextmanager
def _no_services() -> Iterator[None]:
    """Have the installer start no service, as its policy script may ask for."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)

"""Known vulnerabilities of what is locked, secrets in Git, and what the image is made of."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.compose.stack import ROOT
from tests.deployment.tools import tool
from tests.support.cluster import free_ports

PROSE = (".md", ".example")
NO_SECRETS_ON = r"automountServiceAccountToken: false|\"checksum\": \"sha256:"
NO_SECRETS = r"^(guest|pa55word|[a-z]+_[0-9A-HJKMNP-TV-Z]{26})$"
"""RabbitMQ's password for its own machine only, the one of the tests, and ids with a ULID."""

KEY = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@contextmanager
def advisories(*vulnerable: str) -> Iterator[str]:
    """Serve OSV's API, in which these packages have an advisory; yield its address."""

    class OSV(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]
            found = {"vulns": [{"id": "PYSEC-0000-1", "affected": [{"package": asked}]}]}
            answer = json.dumps(found if asked["name"] in vulnerable else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    [port] = free_ports(1)
    server = ThreadingHTTPServer(("127.0.0.1", port), OSV)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def audit(osv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    tool("pip-audit")
    command = [ROOT / ".ci" / "audit", "--osv-url", osv]
    given = {**os.environ, "AUDIT": "on", **environment}
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("package", ["pyjwt", "setuptools"])
def test_an_advisory_on_a_locked_package_fails_the_audit_and_is_named(package: str) -> None:
    with advisories(package) as osv:
        done = audit(osv)
    assert done.returncode != 0
    assert package in done.stdout
    assert "PYSEC-0000-1" in done.stdout


def test_the_audit_passes_if_there_is_no_advisory() -> None:
    with advisories("no-such-package") as osv:
        done = audit(osv)
    assert done.returncode == 0, done.stderr


def test_the_audit_fails_if_nobody_can_be_asked() -> None:
    [closed] = free_ports(1)
    done = audit(f"http://127.0.0.1:{closed}/")
    assert done.returncode != 0
    assert "nobody to ask" in done.stderr


def test_an_audit_that_is_off_says_that_nobody_has_looked() -> None:
    done = audit("", AUDIT="off")
    assert done.returncode == 0
    assert "NOBODY HAS LOOKED" in done.stderr


def scan(*files: str | Path, names: bool) -> str:
    """Have files read for secrets, with ``names`` also for what is given to names like PASSWORD."""
    options = ["--exclude-secrets", NO_SECRETS, "--exclude-lines", NO_SECRETS_ON]
    if not names:
        options += ["--disable-plugin", "KeywordDetector"]
    command = [tool("detect-secrets-hook"), *options, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_no_secret_is_in_git() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    # Locks are hashes all over, and test_locks.py lets nothing else into them.
    files = {one for one in listed.stdout.splitlines() if not one.startswith("requirements/")}
    told = {one for one in files if one.startswith("tests/") or one.endswith(PROSE)}
    assert scan(*sorted(files - told), names=True) == ""
    # Tests and prose speak of secrets by their names.
    assert scan(*sorted(told), names=False) == ""


@pytest.mark.parametrize(
    ("line", "names"),
    [
        (KEY.decode(), False),
        ("amqps://gateway:" + "hunter2hunter2@rabbitmq/", False),
        ("AKIA" + "IOSFODNN7EXAMPLF", False),
        ("POSTGRES_PASSWORD: " + "hunter2hunter2", True),
    ],
)
def test_a_secret_would_be_found(line: str, names: bool, tmp_path: Path) -> None:
    (path := tmp_path / "compose.yml").write_text(line + "\n")
    assert "Secret Type" in scan(path, names=names)


def test_the_image_is_built_of_nothing_but_what_is_named() -> None:
    everything, *let_in = (ROOT / ".dockerignore").read_text().splitlines()
    assert everything == "*"
    assert "!secrets" not in let_in


def test_the_image_installs_only_what_is_locked_by_hash() -> None:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    installs = [
        one
        for line in text.splitlines()
        for one in line.split("&&")
        if "pip install" in one or "pip wheel" in one
    ]
    assert installs
    for one in installs:
        assert "--require-hashes" in one or "--no-deps" in one, one
        assert "--no-deps" not in one or "--no-index" in one or "--no-build-isolation" in one, one

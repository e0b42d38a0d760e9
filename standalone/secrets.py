"""``realtime secrets``: the secrets of a cluster, made once, one file each."""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from shared.broker.permissions import PERMISSIONS, Permissions

VHOST = "realtime"
ADMIN = "admin"
COMMANDS_POLICY = {
    "name": "commands",
    "pattern": r"^(router|presence)\.commands\.[0-9]+$",
    "apply-to": "queues",
    "priority": 0,
    "definition": {"max-length-bytes": 268_435_456, "overflow": "reject-publish"},
}
"""When nobody serves a partition its queue takes so much; then gateways answer 503. By a policy:
the arguments of a queue cannot be changed."""

EVERYTHING = Permissions(configure=".*", write=".*", read=".*")


@click.command("secrets")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rabbitmq", "host", default="rabbitmq", show_default=True, help="Its host name.")
@click.option("--ca", help="Path of RabbitMQ's CA certificate in the containers; for TLS.")
def make_secrets(directory: Path, host: str, ca: str | None) -> None:
    """Write to DIRECTORY what is missing of a cluster's secrets; overwrite none.

    A key for tokens, one for the API of back ends, the URLs under which the services reach
    RabbitMQ, each as a user of its own, the definitions that RabbitMQ is to load, and the
    password of Grafana's admin. Only the rights in the definitions are renewed, if this release
    needs others.
    """
    directory.chmod(0o700)
    _write(directory / "jwt_secret", secrets.token_urlsafe(48))
    _write(directory / "api_keys", secrets.token_urlsafe(48))
    _write(directory / "grafana_admin_password", secrets.token_urlsafe(32))
    names = [f"amqp_url_{service}" for service in PERMISSIONS]
    paths = [directory / name for name in (*names, "rabbitmq_admin_password", "definitions.json")]
    if not any(path.exists() for path in paths):
        passwords = {user: secrets.token_urlsafe(32) for user in (*PERMISSIONS, ADMIN)}
        for name, service in zip(names, PERMISSIONS, strict=True):
            _write(directory / name, _url(service, passwords[service], host, ca))
        _write(directory / "rabbitmq_admin_password", passwords[ADMIN])
        _write(directory / "definitions.json", definitions(passwords))
    elif missing := [path.name for path in paths if not path.exists()]:
        raise click.ClickException(
            f"{', '.join(missing)}: missing, but must fit {', '.join(names)} and the like; "
            "remove all of them, so that they are made anew together"
        )
    else:
        _renew_rights(directory / "definitions.json")


def _renew_rights(path: Path) -> None:
    """Let RabbitMQ's users do what this release needs, and bound what it does; passwords stay.

    In place, for a container that has mounted the file would not see another one.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    renewed = document | _rights(one["name"] for one in document["users"])
    if document != renewed:
        document = renewed
        path.write_text(f"{json.dumps(document, indent=2)}\n", encoding="utf-8")
        click.echo(f"renewed the rights in {path}; docs/upgrades.md tells how to grant them")


def _url(user: str, password: str, host: str, ca: str | None) -> str:
    if ca is None:
        return f"amqp://{user}:{password}@{host}:5672/{VHOST}"
    return f"amqps://{user}:{password}@{host}:5671/{VHOST}?cafile={ca}"


def definitions(passwords: dict[str, str]) -> str:
    """Return RabbitMQ's users with what they may do, as JSON that it can load."""
    document: dict[str, Any] = {
        "vhosts": [{"name": VHOST}],
        "users": [
            {
                "name": user,
                "password_hash": _hashed(password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": ["administrator"] if user == ADMIN else [],
            }
            for user, password in passwords.items()
        ],
        **_rights(passwords),
    }
    return json.dumps(document, indent=2)


def _rights(users: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    allowed = {**PERMISSIONS, ADMIN: EVERYTHING}
    return {
        "permissions": [{"user": user, "vhost": VHOST, **asdict(allowed[user])} for user in users],
        "policies": [{"vhost": VHOST, **COMMANDS_POLICY}],
    }


def _hashed(password: str) -> str:
    """Return a salted hash (rabbitmq.com/docs/passwords)."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _write(path: Path, value: str) -> None:
    """Write a file unless it is there, and say so; it belongs to whom its directory belongs to.

    Containers read it as other users, so only its directory keeps others of the machine out.
    """
    if path.exists():
        if not path.stat().st_size:
            raise click.ClickException(f"{path}: is empty; remove it, so that it is made anew")
        return
    half = path.with_suffix(".half")  # whoever is killed while writing must leave no short secret
    half.write_text(f"{value}\n", encoding="utf-8")
    half.chmod(0o644)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(half, owner.st_uid, owner.st_gid)
    half.replace(path)
    click.echo(f"made {path}")

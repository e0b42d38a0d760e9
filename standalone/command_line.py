"""The ``realtime`` command."""

import json
import sys
from pathlib import Path
from typing import Any

import click

import extensions.app
from gateway.api import openapi
from gateway.api.endpoints import ENDPOINTS
from shared.process.run import run
from shared.settings import WrongSettings, load
from standalone import asyncapi, embedded
from standalone.administer import history, kick, notify, presence, who
from standalone.check_config import check_config
from standalone.reference import print_settings
from standalone.secrets import make_secrets
from standalone.talk import ask, dm, pub, sub
from standalone.tokens import development_token
from standalone.trace import trace
from standalone.watch import cluster


def main() -> None:
    """Run the ``realtime`` command; wrong settings end it with status 2."""
    sys.path.insert(0, str(Path.cwd()))  # where handlers are looked for, as ``python -m`` does
    try:
        commands()
    except WrongSettings as error:
        click.echo(f"The settings are wrong:\n{error}", err=True)
        sys.exit(2)


@click.group()
def commands() -> None:
    """Topics, direct messages and presence over WebSockets."""


@commands.command()
@click.option(
    "--extensions",
    "modules",
    multiple=True,
    metavar="MODULE",
    help="Carry out commands by the handlers of this module; may be given again.",
)
def serve(modules: tuple[str, ...]) -> None:
    """Run all services in this process, without RabbitMQ, in development mode."""
    token = development_token("alice", ttl_seconds=24 * 3600)
    click.echo(f"A token for alice, good for 24 hours:\n\n{token}\n")
    settings = load(mode="development")
    to = f"--url wss://localhost:{settings.port}/ws " if settings.tls_cert_file else ""
    click.echo(f"In another terminal:\n\n  .venv/bin/realtime sub {to}'chat.*'")
    click.echo(f"""  .venv/bin/realtime pub {to}chat.general '{{"hello": "world"}}'\n""")
    click.echo("Its dashboard is /dashboard on the admin port, whose address is told below.\n")
    run("realtime", embedded.serve, mode="development", **_given(modules))


@commands.command()
@click.argument("modules", metavar="[MODULE]...", nargs=-1)
def worker(modules: tuple[str, ...]) -> None:
    """Carry out commands by the handlers of these modules, over RabbitMQ."""
    run("worker", extensions.app.serve, **_given(modules))


def _given(modules: tuple[str, ...]) -> dict[str, Any]:
    """Let modules on the command line go before the setting."""
    return {"extensions": list(modules)} if modules else {}


@commands.command()
@click.argument("user")
@click.option("--ttl", "ttl_seconds", default=3600, show_default=True, help="Seconds it is good.")
@click.option("--claims", default="{}", help="JSON object of further claims.")
def token(user: str, ttl_seconds: int, claims: str) -> None:
    """Print a development token for USER, and nothing else."""
    try:
        further = json.loads(claims)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--claims") from error
    if not isinstance(further, dict):
        raise click.BadParameter("must be a JSON object", param_hint="--claims")
    click.echo(development_token(user, ttl_seconds, further))


@commands.command("openapi")
def print_openapi() -> None:
    """Print the HTTP API as an OpenAPI 3.1 document, in JSON."""
    click.echo(json.dumps(openapi.document(ENDPOINTS), indent=2, ensure_ascii=False))


@commands.command("asyncapi")
def print_asyncapi() -> None:
    """Print the WebSocket protocol as an AsyncAPI 3.0 document, in JSON."""
    click.echo(json.dumps(asyncapi.document(), indent=2, ensure_ascii=False))


for command in (
    *(sub, pub, dm, ask, notify, presence, history, kick, who),
    *(cluster, trace, make_secrets, print_settings, check_config),
):
    commands.add_command(command)

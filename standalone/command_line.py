"""The ``realtime`` command."""

import json
import sys

import click

from gateway.api import openapi
from gateway.api.endpoints import ENDPOINTS
from shared.process.run import run
from shared.settings import WrongSettings
from standalone import asyncapi, embedded
from standalone.administer import history, kick, notify, presence, who
from standalone.talk import dm, pub, sub
from standalone.tokens import development_token
from standalone.watch import cluster


def main() -> None:
    """Run the ``realtime`` command; wrong settings end it with status 2."""
    try:
        commands()
    except WrongSettings as error:
        click.echo(f"The settings are wrong:\n{error}", err=True)
        sys.exit(2)


@click.group()
def commands() -> None:
    """Topics, direct messages and presence over WebSockets."""


@commands.command()
def serve() -> None:
    """Run all services in this process, without RabbitMQ, in development mode."""
    token = development_token("alice", ttl_seconds=30 * 86_400)
    click.echo(f"A token for alice, good for 30 days:\n\n{token}\n")
    click.echo("In another terminal:\n\n  .venv/bin/realtime sub 'chat.*'")
    click.echo("""  .venv/bin/realtime pub chat.general '{"hello": "world"}'\n""")
    run(embedded.serve, mode="development")


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


for command in (sub, pub, dm, notify, presence, history, kick, who, cluster):
    commands.add_command(command)

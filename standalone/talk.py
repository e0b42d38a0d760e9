"""Commands that talk to a running service: subscribe, broadcast, send a direct message, ask.

Each takes ``--url`` and either ``--token`` or ``--user``; for a user it makes a development token.
"""

import asyncio
import base64
import contextlib
import getpass
import json
from collections.abc import Callable, Coroutine
from typing import Any

import click

from realtime_client import Client, ConnectionClosed, RealtimeError, Unreachable, connect
from standalone.tokens import development_token

DEFAULT_URL = "ws://localhost:8081/ws"


def json_value(_: click.Context, __: click.Parameter, value: str) -> Any:
    """Parse an argument, or fail with a usage error."""
    try:
        parsed = json.loads(value)
        json.dumps(parsed, allow_nan=False)  # NaN and 1e999 are Python's idea of JSON
    except ValueError as error:
        hint = "text needs quotes of its own: '\"hello\"'"
        raise click.BadParameter(f"{value!r} is not JSON ({error}); {hint}") from error
    return parsed


def os_user() -> str:
    """The name of who runs this, or ``me`` where the system knows none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "me"


def connection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--url``, ``--user`` and ``--token`` to a command."""
    for option in (
        click.option("--token", envvar="REALTIME_TOKEN", help="A token to use instead of --user."),
        click.option(
            "--user",
            default=os_user,
            show_default="your user name",
            help="Speak as this user, with a development token.",
        ),
        click.option(
            "--url", envvar="REALTIME_URL", default=DEFAULT_URL, show_default=True, help="Where to."
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("patterns", metavar="PATTERN...", nargs=-1, required=True)
@connection_options
def sub(patterns: tuple[str, ...], **options: Any) -> None:
    """Print what is sent to topics, one JSON a line, until Ctrl-C."""

    async def listen(client: Client) -> None:
        await client.subscribe(*patterns)
        async for message in client.messages():
            _print(message)
        raise ConnectionClosed(await client.closed)

    with contextlib.suppress(KeyboardInterrupt):
        _talk(listen, **options)


@click.command()
@click.argument("topic")
@click.argument("payload", metavar="JSON", callback=json_value)
@connection_options
def pub(topic: str, payload: Any, **options: Any) -> None:
    """Broadcast JSON to TOPIC and print the Ack."""

    async def broadcast(client: Client) -> None:
        _print(await client.broadcast(topic, payload))

    _talk(broadcast, **options)


@click.command()
@click.argument("recipient", metavar="USER")
@click.argument("payload", metavar="JSON", callback=json_value)
@connection_options
def dm(recipient: str, payload: Any, **options: Any) -> None:
    """Send JSON to USER and print the Ack; its status is "queued" if USER is offline."""

    async def send(client: Client) -> None:
        _print(await client.direct_message(recipient, payload))

    _talk(send, **options)


@click.command()
@click.argument("kind", metavar="TYPE")
@click.argument("data", metavar="JSON", callback=json_value)
@connection_options
def ask(kind: str, data: Any, **options: Any) -> None:
    """Have a worker carry out a command, such as X-CustomAction, and print the result."""

    async def command(client: Client) -> None:
        result, _ = await client.command(kind, data)
        _print(result)

    _talk(command, **options)


def _talk(
    conversation: Callable[[Client], Coroutine[Any, Any, None]],
    *,
    url: str,
    user: str,
    token: str | None,
) -> None:
    """Connect, hold the conversation, and say in one line what went wrong."""

    async def hold() -> None:
        async with await connect(url, token or development_token(user)) as client:
            await conversation(client)

    try:
        asyncio.run(hold())
    except Unreachable as error:
        raise click.ClickException(f"{error}; start one with `make run`") from error
    except RealtimeError as error:
        raise click.ClickException(str(error)) from error


def _print(message: Any) -> None:
    """Write a compact line and flush it."""
    line = json.dumps(message, ensure_ascii=False, separators=(",", ":"), default=_base64)
    click.echo(line)


def _base64(body: bytes) -> str:
    return base64.b64encode(body).decode()

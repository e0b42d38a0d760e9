"""``realtime check-config``: what a service would make of its settings, before it is started."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
from yarl import URL

from gateway.tls import make_certificate
from shared.errors import BrokerUnavailable
from shared.loopback import is_loopback
from shared.process import logs
from shared.process.tracing import tracing
from shared.settings import KNOWN, SECRET, Settings, WrongSettings, load, unknown
from standalone.examine import examine

HIDDEN = "***"
LONG_DRAIN_SECONDS = 300
WRONG = 2
"""The exit status, as that of a service with wrong settings."""


@click.command("check-config")
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Lines NAME=value that go before the environment.",
)
@click.option(
    "--service",
    type=click.Choice(["gateway", "router", "presence", "worker"]),
    default="gateway",
    show_default=True,
    help="Whose settings they are.",
)
@click.option("--connect", is_flag=True, help="Also see whether RabbitMQ can be used.")
def check_config(env_file: Path | None, service: str, connect: bool) -> None:
    """Tell all that is wrong with the settings, or what holds, without secrets."""
    environ = dict(os.environ)
    problems: list[str] = []
    if env_file is not None:
        more, problems = read_env_file(env_file.read_text(encoding="utf-8"))
        environ |= more
    warnings = [_stranger(*found) for found in unknown(environ).items()]
    try:
        settings = load(environ, for_clients=service == "gateway")
    except WrongSettings as error:
        problems += str(error).splitlines()
    else:
        warnings += unwise(settings)
        problems += _tracing(settings)
        if service == "gateway":
            problems += _certificate(settings)
        if not problems:
            click.echo("\n".join(f"{name}={value}" for name, value in effective(settings)))
        if connect:
            problems += _connect(settings)
    for line in warnings:
        click.echo(f"Warning: {line}", err=True)
    for line in problems:
        click.echo(f"Wrong: {line}", err=True)
    sys.exit(WRONG if problems else 0)


def _tracing(settings: Settings) -> list[str]:
    """Return why there can be no spans, if there are to be any."""
    try:
        with tracing(settings, "check-config"):
            return []
    except WrongSettings as error:
        return [str(error)]


def _certificate(settings: Settings) -> list[str]:
    """Say how clients come if there is a certificate; return why it cannot be used."""
    try:
        certificate = make_certificate(settings)
    except WrongSettings as error:
        return [str(error)]
    if certificate is not None:
        click.echo(
            f"Clients come by wss://, with a certificate until {certificate.until}.", err=True
        )
    return []


def _connect(settings: Settings) -> list[str]:
    """Say what RabbitMQ is there; return why it cannot be used, if it cannot."""
    logs.hush_libraries()
    try:
        version = asyncio.run(examine(settings.amqp_url))
    except BrokerUnavailable as error:
        return [f"REALTIME_AMQP_URL: {error}"]
    click.echo(f"RabbitMQ {version} can be used.", err=True)
    return []


def _stranger(variable: str, nearest: str) -> str:
    return f"{variable}: nothing reads it" + (f"; did you mean {nearest}?" if nearest else "")


def read_env_file(text: str) -> tuple[dict[str, str], list[str]]:
    """Return the variables, and a line for each line that cannot be understood.

    As in Docker's: one NAME=value a line, comments on lines of their own, quotes belong to the
    value.
    """
    values, problems = {}, []
    for number, line in enumerate(text.splitlines(), 1):
        name, equals, value = line.partition("=")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if equals and name.isidentifier():
            values[name] = value
        else:
            problems.append(f"line {number} of the file is not NAME=value")
    return values, problems


# ---- what holds ----------------------------------------------------------------------------------


def effective(settings: Settings) -> Iterator[tuple[str, str]]:
    """Return each variable with its value; of a secret no more than that it is set."""
    hints = get_type_hints(Settings, include_extras=True)
    for variable, name in KNOWN.items():
        value = getattr(settings, name)
        if SECRET not in get_args(hints[name]) or not value:
            yield variable, _shown(value)
        else:
            yield variable, _without_password(value) if name == "amqp_url" else HIDDEN


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(value)
    if isinstance(value, str):
        return value.replace("\n", "\\n")
    return "" if value is None else json.dumps(value)


def _without_password(url: str) -> str:
    """Return where RabbitMQ is, and as whom it is used; nothing of what may not be so meant.

    In a password that is not percent-encoded a ``#``, ``/``, ``?`` or ``@`` ends something else.
    """
    found = _parsed(url)
    if url.count("@") != 1 or not found.user or not found.host or found.fragment:
        return HIDDEN
    return str(found.with_password(HIDDEN).with_query(None))


# ---- what is lawful, but unwise ------------------------------------------------------------------


def unwise(settings: Settings) -> list[str]:
    """Return a line for each setting that a service takes, and that is a bad idea."""
    production = settings.mode == "production"
    broker = _parsed(settings.amqp_url)
    first_for_all = "#" in list(settings.history or {})[:-1]
    doubts: Mapping[str, bool] = {
        "REALTIME_MODE: development grants everything to whoever reaches REALTIME_HOST, "
        "which is not on loopback": not production and not is_loopback(settings.host),
        "REALTIME_AIOMONITOR: whoever has an account on the machine can look into the process": (
            production and settings.aiomonitor
        ),
        f"REALTIME_DRAIN_SECONDS: an update waits more than {LONG_DRAIN_SECONDS} s for each "
        "gateway, and a supervisor must wait 20 s longer before it kills": (
            settings.drain_seconds > LONG_DRAIN_SECONDS
        ),
        "REALTIME_AMQP_URL: the password is that of every new RabbitMQ": (
            production and (broker.user, broker.password) == ("guest", "guest")
        ),
        "REALTIME_AMQP_URL: amqp:// is not encrypted, and the host is another one": (
            production and broker.scheme == "amqp" and not is_loopback(broker.host or "")
        ),
        "REALTIME_ALLOWED_ORIGINS: a page of http:// can be changed on its way": (
            production and any(one.startswith("http://") for one in settings.allowed_origins)
        ),
        "REALTIME_LOG_LEVEL: debug writes many lines": production and settings.log_level == "debug",
        "REALTIME_HISTORY: patterns after # never count, for the first that meets decides": (
            first_for_all
        ),
    }
    return [line for line, doubtful in doubts.items() if doubtful]


def _parsed(url: str) -> URL:
    try:
        return URL(url)
    except ValueError:
        return URL()

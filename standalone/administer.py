"""Commands for operators, over the HTTP API: notify, presence, history, kick, who."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import click

from shared.table import aligned
from standalone.tokens import development_token

DEFAULT_URL = "http://localhost:8081"
TIMEOUT_SECONDS = 10.0
OK = 200

Json = dict[str, Any]
Command = Callable[..., None]


class Api:
    """The HTTP API of a running service."""

    def __init__(self, url: str, key: str | None) -> None:
        self._url = url.rstrip("/") + "/api/v1"
        self._key = key or development_token("operator", claims={"roles": ["admin"]})

    def call(
        self, method: str, path: str, body: Json | None = None, query: Iterable[Any] = ()
    ) -> Json:
        """Make a request and return the answer.

        Raises:
            ClickException: it failed; the message says why.
        """
        try:
            return asyncio.run(self._call(method, path, body, list(query)))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise click.ClickException(f"{self._url} cannot be reached: {error!r}") from error

    async def _call(self, method: str, path: str, body: Json | None, query: list[Any]) -> Json:
        timeout = aiohttp.ClientTimeout(TIMEOUT_SECONDS)
        headers = {"Authorization": f"Bearer {self._key}"}
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.request(method, self._url + path, json=body, params=query) as response,
        ):
            text = await response.text()
        try:
            answer: Json = json.loads(text)
        except ValueError as error:
            raise click.ClickException(f"No answer of this service: {text[:200]!r}") from error
        if response.status != OK:
            raise click.ClickException(_told(answer.get("data", {})))
        return answer


def _told(error: Json) -> str:
    details = ", ".join(f"{name}: {value}" for name, value in error.get("details", {}).items())
    return f"{error.get('code')} {error.get('message')}" + (f" ({details})" if details else "")


def operator_options(command: Command) -> Command:
    """Add ``--api``, ``--key`` and ``--json`` to a command."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts."),
        click.option(
            "--key",
            envvar="REALTIME_API_KEY",
            help="An API key or an administrator's token; by default a development token.",
        ),
        click.option(
            "--api",
            envvar="REALTIME_API_URL",
            default=DEFAULT_URL,
            show_default=True,
            help="Where.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("title")
@click.argument("message")
@click.option("--all", "to_all", is_flag=True, help="To everybody who is connected.")
@click.option("--user", "users", multiple=True, help="To this user; may be given again.")
@click.option("--topic", "topics", multiple=True, help="To those who subscribe to this topic.")
@click.option("--connection", "connections", multiple=True, help="To this connection.")
@click.option("--level", type=click.Choice(["info", "success", "warning", "error"]), default="info")
@click.option("--action", "actions", multiple=True, metavar="LABEL=URL", help="A link to show.")
@click.option("--ttl", type=float, default=0.0, help="Seconds it may wait for offline users.")
@operator_options
def notify(
    title: str,
    message: str,
    to_all: bool,
    level: str,
    actions: tuple[str, ...],
    ttl: float,
    api: str,
    key: str | None,
    as_json: bool,
    **named: tuple[str, ...],
) -> None:
    """Notify everybody, users, subscribers or connections."""
    chosen = [*(["all"] if to_all else []), *(kind for kind, names in named.items() if names)]
    if len(chosen) != 1:
        raise click.UsageError("Give one of --all, --user, --topic and --connection.")
    [kind] = chosen
    audience = {"to": kind} if to_all else {"to": kind, kind: list(named[kind])}
    links = [dict(zip(("label", "url"), one.split("=", 1), strict=False)) for one in actions]
    body = {"audience": audience, "title": title, "message": message, "level": level}
    answer = Api(api, key).call("POST", "/notifications", {**body, "actions": links, "ttl": ttl})
    _print(
        answer,
        as_json,
        ("RECIPIENTS", "QUEUED", "ID"),
        [_row(answer, "recipients", "queued", "message_id")],
    )


@click.command()
@click.argument("users", metavar="USER...", nargs=-1, required=True)
@operator_options
def presence(users: tuple[str, ...], api: str, key: str | None, as_json: bool) -> None:
    """Tell who of the users is online."""
    answer = Api(api, key).call("GET", "/presence", query=[("user", one) for one in users])
    rows = [
        [
            one["user_id"],
            one["status"],
            str(one["connections"]),
            _moment(one.get("last_seen_ms")),
            _compact(one.get("metadata", {})),
        ]
        for one in answer["users"]
    ]
    _print(answer, as_json, ("USER", "STATUS", "CONNECTIONS", "SINCE", "METADATA"), rows)


@click.command()
@click.argument("topic")
@operator_options
def who(topic: str, api: str, key: str | None, as_json: bool) -> None:
    """Tell who is subscribed to TOPIC."""
    answer = Api(api, key).call("GET", f"/topics/{_quoted(topic)}/subscribers")
    rows = [_row(one, "user_id", "connections") for one in answer["users"]]
    _print(answer, as_json, ("USER", "CONNECTIONS"), rows)


@click.command()
@click.argument("topic")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--after", type=int, help="Only what has a higher offset.")
@click.option("--before", type=int, help="Only what has a lower offset.")
@click.option("--reverse", is_flag=True, help="The newest first.")
@operator_options
def history(topic: str, api: str, key: str | None, as_json: bool, **asked: Any) -> None:
    """Print what was said on TOPIC."""
    query = [(name, str(value).lower()) for name, value in asked.items() if value is not None]
    answer = Api(api, key).call("GET", f"/topics/{_quoted(topic)}/history", query=query)
    rows = [list(_said(one)) for one in answer["messages"]]
    _print(answer, as_json, ("OFFSET", "SENT", "FROM", "PAYLOAD"), rows)


@click.command()
@click.argument("user")
@click.option("--revoke", is_flag=True, help="Refuse the tokens that the user has, too.")
@operator_options
def kick(user: str, revoke: bool, api: str, key: str | None, as_json: bool) -> None:
    """End all connections of USER."""
    path = f"/users/{_quoted(user)}/disconnect"
    answer = Api(api, key).call("POST", path, {"revoke": revoke})
    _print(answer, as_json, ("USER", "DISCONNECTED"), [_row(answer, "user_id", "disconnected")])


def _said(message: Json) -> Iterable[str]:
    data = message["data"]
    head = data.get("metadata") or data.get("header") or {}
    yield str(head.get("offset", ""))
    yield _moment(head.get("sent_at_ms"))
    yield str(head.get("from_user", ""))
    yield _compact(data.get("payload", data.get("body")))


def _print(answer: Json, as_json: bool, heads: tuple[str, ...], rows: list[list[str]]) -> None:
    """Print JSON for scripts, or a table for people, who are told if it is not all."""
    if as_json:
        click.echo(_compact(answer))
        return
    click.echo(aligned(heads, rows))
    if not answer.get("complete", True):
        click.echo("This is not all.", err=True)


def _row(answer: Mapping[str, Any], *names: str) -> list[str]:
    return [str(answer[name]) for name in names]


def _moment(at_ms: int | None) -> str:
    if at_ms is None:
        return ""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().isoformat(" ", "seconds")


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _quoted(name: str) -> str:
    return quote(name, safe="")

"""REALTIME_* variables in, frozen settings out; everything that is wrong is reported at once.

Each variable can also be given as ``<NAME>_FILE``, the path of a file that holds its value.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, get_type_hints

import msgspec
from msgspec import Meta

from shared.development import development_secret
from shared.errors import BadRequest
from shared.topics.pattern import parse_pattern

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1)]

MIN_SECRET_BYTES = 32
SYMMETRIC = frozenset({"HS256", "HS384", "HS512"})
ASYMMETRIC = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)

Permissions = dict[str, Any]


class Kept(TypedDict):
    """How much of a topic's history is kept (H4)."""

    messages: Annotated[int, Meta(ge=0, le=10_000)]
    seconds: Annotated[int, Meta(ge=0, le=86_400)]


Histories = dict[str, Kept]

HISTORY: Histories = {"#": {"messages": 100, "seconds": 300}}

OPEN: Permissions = {
    "subscribe": ["#", "system.#"],
    "publish": ["#"],
    "direct": True,
    "presence": ["presence.#"],
    "history": ["#"],
    "extensions": ["*"],
}


class WrongSettings(Exception):
    """Some settings are missing or wrong; the message has one line for each."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one process is told. See docs/operations.md for the whole table."""

    mode: Literal["development", "production"] = "production"
    """``development``: a generated secret, open permissions, origins of this machine allowed."""

    host: str = ""
    """Address for clients; by default ``localhost`` in development, every address otherwise."""

    port: Port = 8081
    """Port for clients; the gateway's WebSocket is at ``/ws``."""

    admin_port: Port | None = None
    """Port for /livez, /readyz, /metrics on loopback; by default the next free one from 9081."""

    admin_host: str = "127.0.0.1"

    amqp_url: str = "amqp://guest:guest@localhost:5672/"

    node_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_\-]{1,64}$")] = ""
    """Name of this process; by default host name and pid."""

    partitions: Annotated[int, Meta(ge=1, le=256)] = 16
    """Slices of the topics, and of the users. The same number in the whole cluster."""

    jwt_secret: str = ""
    jwt_public_key: str = ""
    """PEM. Either this or the secret."""

    jwt_algorithms: list[str] = ()  # type: ignore[assignment]  # frozen by the dataclass
    """By default HS256 with a secret and RS256 with a public key."""

    jwt_issuer: str = ""
    jwt_audience: str = ""
    allowed_origins: list[str] = ()  # type: ignore[assignment]  # frozen by the dataclass
    """Exact origins, comma-separated, ``https://app.example.com``."""

    api: Literal["public", "admin"] = "admin"
    """Where back ends reach the HTTP API: on ``port``, or only on ``admin_port``; in development
    on ``port``."""

    api_keys: list[str] = ()  # type: ignore[assignment]  # frozen by the dataclass
    """Keys of back ends, comma-separated, at least 32 bytes each; a token with the role ``admin``
    will do, too."""

    default_permissions: Permissions | None = None
    """JSON: what a token without ``permissions`` may do; open in development, else nothing."""

    max_subscriptions: Positive = 256
    """Patterns one connection may hold."""

    max_binary_bytes: Annotated[int, Meta(ge=1024, le=8_388_608)] = 1_048_576
    """Of one binary message (B1)."""

    extensions: list[str] = ()  # type: ignore[assignment]  # frozen by the dataclass
    """Modules whose handlers carry out commands of extensions, comma-separated (X1)."""

    json_ping_seconds: Annotated[int, Meta(ge=0)] = 0
    """Seconds between JSON ``Ping`` messages to each client; 0 for none (C2)."""

    drain_seconds: Annotated[float, Meta(ge=0, le=3600)] = 20.0
    """Window in which a gateway that stops closes its connections, one after another."""

    history: Histories | None = None
    """JSON: ``{"<pattern>": {"messages": 100, "seconds": 300}}``; the first that meets a topic
    decides, and 0 messages switch its history off (H4)."""

    mailbox_messages: Positive = 1000
    mailbox_bytes: Positive = 1_048_576
    mailbox_seconds: Positive = 86_400
    mailbox_per_sender: Positive = 200
    """Limits of one offline user's mailbox (R3)."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False
    aiomonitor: bool = False
    """Open aiomonitor on loopback. Whoever reaches it can run code in this process."""


def load(environ: Mapping[str, str] = os.environ, **given: Any) -> Settings:
    """Read the settings; ``given`` ones go before the environment.

    Raises:
        WrongSettings: one line for each problem, naming the variable and what it should be.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    hints = get_type_hints(Settings, include_extras=True)
    for field in fields(Settings):
        variable = f"REALTIME_{field.name.upper()}"
        text = _text(environ, variable, problems)
        if field.name in given:
            values[field.name] = given[field.name]
        elif text is not None:
            try:
                values[field.name] = _convert(text, hints[field.name])
            except (msgspec.ValidationError, msgspec.DecodeError) as error:
                problems.append(f"{variable}: {error}")
        elif field.default is MISSING:
            problems.append(f"{variable}: must be set")
    settings = _completed(values)
    problems += _contradictions(settings)
    if problems:
        raise WrongSettings("\n".join(problems))
    return settings


def _text(environ: Mapping[str, str], variable: str, problems: list[str]) -> str | None:
    path = environ.get(f"{variable}_FILE")
    if path is None:
        return environ.get(variable) or None
    if variable in environ:
        problems.append(f"{variable}: set it or {variable}_FILE, not both")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{variable}_FILE: {error}")
        return None


def _convert(text: str, kind: Any) -> Any:
    if kind == list[str]:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind in {Permissions | None, Histories | None}:
        return msgspec.json.decode(text, type=kind)
    return msgspec.convert(text, kind, strict=False)


def _completed(values: dict[str, Any]) -> Settings:
    """Fill in the defaults that depend on other settings."""
    development = values.get("mode") == "development"
    values.setdefault("host", "localhost" if development else "0.0.0.0")  # noqa: S104 - a server
    if not values.get("node_id"):
        name = "".join(c if c.isalnum() else "-" for c in socket.gethostname())[:48]
        values["node_id"] = f"{name}-{os.getpid()}"
    if development and not values.get("jwt_secret") and not values.get("jwt_public_key"):
        values["jwt_secret"] = development_secret()
    values.setdefault("api", "public" if development else "admin")
    if not values.get("jwt_algorithms"):
        values["jwt_algorithms"] = ["RS256" if values.get("jwt_public_key") else "HS256"]
    if values.get("default_permissions") is None:
        values["default_permissions"] = OPEN if development else {}
    if values.get("history") is None:
        values["history"] = HISTORY
    return Settings(**values)


def _contradictions(settings: Settings) -> list[str]:
    problems = []
    allowed = ASYMMETRIC if settings.jwt_public_key else SYMMETRIC
    if settings.jwt_secret and settings.jwt_public_key:
        problems.append("REALTIME_JWT_SECRET: set it or REALTIME_JWT_PUBLIC_KEY, not both")
    elif wrong := sorted(set(settings.jwt_algorithms) - allowed):
        problems.append(
            f"REALTIME_JWT_ALGORITHMS: {', '.join(wrong)} cannot be used with this key; "
            f"choose from {', '.join(sorted(allowed))}"
        )
    if settings.jwt_secret and len(settings.jwt_secret.encode()) < MIN_SECRET_BYTES:
        problems.append(f"REALTIME_JWT_SECRET: must have at least {MIN_SECRET_BYTES} bytes")
    if any(len(key.encode()) < MIN_SECRET_BYTES for key in settings.api_keys):
        problems.append(f"REALTIME_API_KEYS: each must have at least {MIN_SECRET_BYTES} bytes")
    if settings.mode == "production":
        if not settings.jwt_secret and not settings.jwt_public_key:
            problems.append("REALTIME_JWT_SECRET: set it or REALTIME_JWT_PUBLIC_KEY in production")
        if not settings.jwt_issuer:
            problems.append("REALTIME_JWT_ISSUER: must be set in production")
        if not settings.allowed_origins:
            problems.append("REALTIME_ALLOWED_ORIGINS: must be set in production")
    if "*" in settings.allowed_origins:
        problems.append("REALTIME_ALLOWED_ORIGINS: name each origin; * is not one")
    return problems + _wrong_patterns(settings)


def _wrong_patterns(settings: Settings) -> list[str]:
    problems = []
    for pattern in settings.history or {}:
        try:
            parse_pattern(pattern)
        except BadRequest as error:
            problems.append(f"REALTIME_HISTORY: {pattern[:64]!r}: {error.details['reason']}")
    return problems

"""REALTIME_* variables in, frozen settings out; everything that is wrong is reported at once.

Each variable but those of paths can also be given as ``<NAME>_FILE``, the path of a file that
holds its value.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from shared.contradictions import contradictions, missing
from shared.development import development_secret
from shared.token_keys import KEYS

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1)]
Limit = Annotated[int, Meta(ge=0)]
"""0 for none."""
SECONDS = Meta(extra={"unit": "seconds"})
BYTES = Meta(extra={"unit": "bytes"})
SECRET = Meta(extra={"secret": True})
"""Never shown, not even in part; see ``realtime check-config``."""

Permissions = dict[str, Any]


class Kept(TypedDict):
    """How much of a topic's history is kept (H4)."""

    messages: Annotated[int, Meta(ge=0, le=10_000)]
    seconds: Annotated[int, Meta(ge=0, le=86_400)]


Histories = dict[str, Kept]

HISTORY: Histories = {"#": {"messages": 100, "seconds": 300}}

LIFTED_IN_DEVELOPMENT = (
    "max_messages_per_second",
    "max_bytes_per_second",
    "max_user_messages_per_second",
    "max_handshakes_per_second",
    "max_accepts_per_second",
    "max_address_connections",
)

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
    """What one process is told.

    Each field's text is what docs/settings.md and .env.example say of it (standalone/reference.py):
    its meaning, and after ``Default:`` what holds if it is not set, where the value here does not
    tell. The comments are the headings.
    """

    # ---- The process -----------------------------------------------------------------------------

    mode: Literal["development", "production"] = "production"
    """In `development` a secret is made, everything is allowed, and pages of this machine may
    connect; see [modes](operations.md#modes)."""

    host: str = ""
    """Address for clients. Default: `0.0.0.0`; in development `localhost`"""

    port: Port = 8081
    """Port for clients; the WebSocket is at `/ws`. 0 for any free one."""

    tls_cert_file: str = ""
    """Path of a certificate and its chain in PEM: clients come by `wss://`; read again when it
    changes. Default: none, `ws://`; see [TLS](operations.md#tls)"""

    tls_key_file: str = ""
    """Path of its key in PEM, without a password."""

    admin_host: str = "127.0.0.1"
    """Address of the admin port."""

    admin_port: Port | None = None
    """Port for `/livez`, `/readyz` and `/metrics`; each process of a machine needs its own.
    Default: the first free one from 9081"""

    amqp_url: Annotated[str, SECRET] = "amqp://guest:guest@localhost:5672/"
    """RabbitMQ; `amqps://` for TLS, and `?cafile=PATH` at the end for an authority that the system
    does not know. Not used by `realtime serve`."""

    node_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_\-]{1,64}$")] = ""
    """Name of this process: 1 to 64 of `A-Z a-z 0-9 _ -`. No two gateways may share one.
    Default: host name and process id"""

    partitions: Annotated[int, Meta(ge=1, le=256)] = 16
    """Slices of the topics, and of the users. The same in the whole cluster, and
    [not to be changed](operations.md#the-number-of-partitions)."""

    drain_seconds: Annotated[float, Meta(ge=0, le=3600), SECONDS] = 20.0
    """Window in which a [stopping gateway](operations.md#stopping-a-gateway) closes its
    connections, one after another; 0 for all at once."""

    # ---- Who may do what -------------------------------------------------------------------------

    jwt_secret: Annotated[str, SECRET] = ""
    """Key for HS algorithms: random, at least 32 bytes, 48 for HS384 and 64 for HS512. A gateway in
    production needs this, a public key or a JWK set; see [tokens](operations.md#tokens).
    Default: none; in development one made for this checkout"""

    jwt_public_key: str = ""
    """Key for RS, PS, ES and EdDSA algorithms, in PEM, instead of the secret."""

    jwt_jwks_url: str = ""
    """Where the issuer publishes its keys as a JWK set, `https://`, instead of one key."""

    jwt_algorithms: list[str] = ()  # type: ignore[assignment]  # frozen by the dataclass
    """Those that tokens may be signed with; must suit the key.
    Default: `HS256`; with a public key or a JWK set `RS256`"""

    jwt_issuer: str = ""
    """What `iss` of a token must be. A gateway in production must have it."""

    jwt_audience: str = ""
    """What `aud` must hold; without it tokens with an `aud` are refused."""

    jwt_type: str = ""
    """What the header `typ` of a token must be, such as `at+jwt`. Default: not looked at"""

    jwt_leeway_seconds: Annotated[float, Meta(ge=0, le=10), SECONDS] = 10.0
    """What clocks may differ by: a token, and a connection with it, ends so long after `exp`."""

    jwt_max_life_seconds: Annotated[Limit, SECONDS] = 86_400
    """Time from `iat` to `exp` of a token, or from now; longer ones are refused, so that no
    connection outlasts it without a new token. 0 for no limit."""

    query_tokens: bool = True
    """Whether a token may come in the query, `/ws?token=`, which proxies may log."""

    allowed_origins: list[str] = ()  # type: ignore[assignment]  # frozen by the dataclass
    """Exact origins of pages that may connect, `https://app.example.com`. A gateway in production
    needs some.
    Default: none; in development all of this machine"""

    default_permissions: Permissions | None = None
    """The [rights](protocol.md#rights) of a token without `permissions`.
    Default: `{}`; in development everything"""

    # ---- The HTTP API ----------------------------------------------------------------------------

    api: Literal["public", "admin"] = "admin"
    """Where the [HTTP API](api.md) is served: on the clients' port (`public`), or on the admin port
    alone. Default: `admin`; in development `public`"""

    api_keys: Annotated[list[str], SECRET] = ()  # type: ignore[assignment]  # frozen likewise
    """Keys of back ends, at least 32 bytes each; a token with the role `admin` will do, too."""

    # ---- Limits ----------------------------------------------------------------------------------

    max_messages_per_second: Limit = 50
    """Messages of one connection, twice as many at once; see [limits](operations.md#limits), also
    for what counts as one. 0 for no limit. Default: 50; in development no limit"""

    max_bytes_per_second: Annotated[Limit, BYTES] = 1_048_576
    """The same, of all its messages. Default: 1048576; in development no limit"""

    max_user_messages_per_second: Limit = 200
    """Messages of one user on all connections to all gateways.
    Default: 200; in development no limit"""

    max_handshakes_per_second: Limit = 20
    """Connections that one address may ask a gateway for, twice as many at once.
    Default: 20; in development no limit"""

    max_accepts_per_second: Limit = 500
    """Connections that a gateway takes from everybody. Default: 500; in development no limit"""

    max_address_connections: Limit = 200
    """Connections of one address to one gateway, with those that have not said yet what they want.
    Default: 200; in development no limit"""

    max_user_connections: Limit = 20
    """Connections of one user to all gateways. 0 for no limit."""

    max_connections: Limit = 10_000
    """WebSockets of one gateway. 0 for no limit."""

    trusted_proxies: list[str] = ()  # type: ignore[assignment]  # frozen by the dataclass
    """Networks of balancers whose `X-Forwarded-For` tells the client's address, `10.0.0.0/8`."""

    # ---- Clients ---------------------------------------------------------------------------------

    max_subscriptions: Positive = 256
    """Patterns that one connection may hold."""

    max_binary_bytes: Annotated[int, Meta(ge=1024, le=8_388_608), BYTES] = 1_048_576
    """Size of one binary message; see [large messages](operations.md#large-messages)."""

    max_outbox_bytes: Annotated[int, Meta(ge=65_536), BYTES] = 1_048_576
    """What may be held back for one client that [reads slowly](operations.md#slow-readers)."""

    compression: bool = False
    """Agree on [compressed broadcasts](operations.md#compression) with clients that offer that."""

    json_ping_seconds: Annotated[int, Meta(ge=0), SECONDS] = 0
    """Time between JSON `Ping` messages to each client; 0 for none."""

    # ---- Extensions ------------------------------------------------------------------------------

    extensions: list[str] = ()  # type: ignore[assignment]  # frozen by the dataclass
    """Python modules whose handlers `realtime worker` and `realtime serve` run
    ([extensions](extensions.md))."""

    # ---- What is kept ----------------------------------------------------------------------------

    history: Histories | None = None
    """How much of a topic's history is kept, by pattern; the first that meets a topic decides. See
    [history](operations.md#history). Default: `{"#": {"messages": 100, "seconds": 300}}`"""

    mailbox_messages: Positive = 1000
    """Messages in one offline user's mailbox."""

    mailbox_bytes: Annotated[Positive, BYTES] = 1_048_576
    """Payload and metadata in one mailbox."""

    mailbox_seconds: Annotated[Positive, SECONDS] = 86_400
    """How long a message may wait in a mailbox."""

    mailbox_per_sender: Positive = 200
    """Messages of one sender in one mailbox."""

    # ---- Logs, and a look inside -----------------------------------------------------------------

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""

    log_json: bool = False
    """One JSON object a line instead of text."""

    tracing: bool = False
    """Make [spans for OpenTelemetry](operations.md#tracing); needs the extra `otel`. Where they go
    is said by its own variables `OTEL_*`."""

    aiomonitor: bool = False
    """Open [aiomonitor](operations.md#aiomonitor) on loopback. Whoever reaches it can run code in
    this process."""


PREFIX = "REALTIME_"
KNOWN = {f"{PREFIX}{field.name.upper()}": field.name for field in fields(Settings)}
"""By variable: the setting."""

IN_FILES = {name: f"{name}_FILE" for name in KNOWN if not name.endswith("_FILE")}
"""By variable: the one that names a file with its value."""

OF_COMMANDS = frozenset({"REALTIME_URL", "REALTIME_TOKEN", "REALTIME_API_URL", "REALTIME_API_KEY"})
"""Read by the commands that talk to a running service."""


def load(
    environ: Mapping[str, str] = os.environ, *, for_clients: bool = True, **given: Any
) -> Settings:
    """Read the settings; ``given`` ones go before the environment.

    Only who serves clients, ``for_clients``, must know in production whom to believe.

    Raises:
        WrongSettings: one line for each problem, naming the variable and what it should be.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    hints = get_type_hints(Settings, include_extras=True)
    for variable, name in KNOWN.items():
        text = _text(environ, variable, problems)
        if name in given:
            values[name] = given[name]
        elif text is not None:
            try:
                values[name] = _convert(text, hints[name])
            except (msgspec.ValidationError, msgspec.DecodeError) as error:
                problems.append(f"{variable}: {error}")
    settings = _completed(values)
    problems += contradictions(settings)
    if for_clients and settings.mode == "production":
        problems += missing(settings)
    if problems:
        raise WrongSettings("\n".join(problems))
    return settings


def unknown(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the REALTIME_* variables that nothing reads, each with the nearest that there is."""
    known = {*KNOWN, *IN_FILES.values(), *OF_COMMANDS}
    names = sorted(name.removeprefix(PREFIX) for name in known)
    found = {}
    for variable in environ:
        if variable.startswith(PREFIX) and variable not in known:
            nearest = get_close_matches(variable.removeprefix(PREFIX), names, n=1)
            found[variable] = f"{PREFIX}{nearest[0]}" if nearest else ""
    return found


def _text(environ: Mapping[str, str], variable: str, problems: list[str]) -> str | None:
    in_file = IN_FILES.get(variable, "")
    path = environ.get(in_file)
    if path is None:
        return environ.get(variable) or None
    if variable in environ:
        problems.append(f"{variable}: set it or {in_file}, not both")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{in_file}: {error}")
        return None


def _convert(text: str, kind: Any) -> Any:
    plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if plain == list[str]:
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
    if development and not any(values.get(name) for name in KEYS):
        values["jwt_secret"] = development_secret()
    values.setdefault("api", "public" if development else "admin")
    if not values.get("jwt_algorithms"):
        public = values.get("jwt_public_key") or values.get("jwt_jwks_url")
        values["jwt_algorithms"] = ["RS256" if public else "HS256"]
    if values.get("default_permissions") is None:
        values["default_permissions"] = OPEN if development else {}
    if values.get("history") is None:
        values["history"] = HISTORY
    if development:
        values = {**dict.fromkeys(LIFTED_IN_DEVELOPMENT, 0), **values}
    return Settings(**values)

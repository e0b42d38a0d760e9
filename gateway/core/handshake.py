"""PURE: what an HTTP upgrade request carries (protocol decisions S1, S2, S7)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.errors import BadRequest

SUBPROTOCOL = "realtime.v1"
TOKEN_PREFIX = "access_token."  # noqa: S105  # pragma: allowlist secret

_VERSIONED = re.compile(r"realtime\.v\d+\Z")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Offer:
    """What the client brought."""

    token: str | None
    subprotocol: str | None
    """The one to answer with."""


def read_offer(
    in_query: Iterable[str],
    authorization: Iterable[str],
    offered: Iterable[str],
    *,
    query_tokens: bool = True,
) -> Offer:
    """Find the token and the subprotocol.

    ``offered`` are the values of all ``Sec-WebSocket-Protocol`` headers, each a comma list.
    ``query_tokens`` says whether a token may come in the query, which others may log.

    Raises:
        BadRequest: two different tokens, one in the query where none may be, or only protocol
            versions that are not spoken here.
    """
    protocols = [name.strip() for line in offered for name in line.split(",") if name.strip()]
    carriers = [name for name in protocols if name.startswith(TOKEN_PREFIX)]
    tokens = {name.removeprefix(TOKEN_PREFIX) for name in carriers}
    if not query_tokens and any(in_query):
        reason = f"not in the query; use the header Authorization or {TOKEN_PREFIX}<jwt>"
        raise BadRequest(f"token: {reason}", field="token", reason=reason)
    tokens.update(in_query)
    for header in authorization:
        scheme, _, token = header.partition(" ")
        if scheme.lower() == "bearer":
            tokens.add(token.strip())
    tokens.discard("")
    if len(tokens) > 1:
        reason = "two different ones in one request"
        raise BadRequest(f"token: {reason}", field="token", reason=reason)
    versions = [name for name in protocols if _VERSIONED.match(name)]
    if versions and SUBPROTOCOL not in versions:
        field, reason = "Sec-WebSocket-Protocol", "no version of it is spoken here"
        raise BadRequest(f"{field}: {reason}", field=field, reason=reason, supported=[SUBPROTOCOL])
    answer = SUBPROTOCOL if versions else next(iter(carriers), None)
    return Offer(next(iter(tokens), None), answer)


def origin_allowed(
    origin: str | None, host: str, allowed: Iterable[str], *, development: bool
) -> bool:
    """Whether a request with this ``Origin`` and ``Host`` may connect.

    Without an Origin it is no browser. In development this machine's and the same host's pages may.
    """
    if origin is None or origin in allowed:
        return True
    if not development:
        return False
    try:
        name, own = urlsplit(origin).hostname, urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name is not None and (name in _LOOPBACK or name == own)

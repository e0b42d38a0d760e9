"""The API over HTTP: who asks, what is asked, and the answer in JSON."""

import hmac
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, get_type_hints

import msgspec
import structlog
from aiohttp import web
from msgspec import Struct
from multidict import MultiMapping
from ulid import ULID

from gateway.api.backend import BackEnd, Call
from gateway.api.endpoints import ENDPOINTS, PREFIX, Endpoint
from gateway.api.openapi import document
from gateway.node import Node
from gateway.responses import refusal
from shared.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    ServiceError,
    Unauthorized,
)
from shared.messages.checks import PrintableId, check_depth, check_printable, convert

log = structlog.get_logger()

SERVICE = "$service"
"""On whose behalf something is said that comes with an API key (X6)."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_api(app: web.Application, node: Node) -> None:
    """Serve the API under its prefix."""
    api = web.Application(middlewares=[_errors])
    back_end = BackEnd(node)
    for endpoint in ENDPOINTS:
        api.router.add_route(
            endpoint.method, endpoint.path, _handler(endpoint, back_end, Gate(node))
        )
    description = msgspec.json.encode(document(ENDPOINTS))
    api.router.add_get("/openapi.json", _constant(description))
    app.add_subapp(PREFIX, api)


class Gate:
    """Lets back ends in: an API key of the settings, or a token with the role ``admin`` (S4)."""

    def __init__(self, node: Node) -> None:
        self._verifier = node.verifier
        self._keys = [key.encode() for key in node.settings.api_keys]

    def speaker(self, request: web.Request) -> str:
        """Return who asks.

        Raises:
            Unauthorized: no credential, or none that is good.
            Forbidden: a token without the role.
        """
        scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not credential:
            raise Unauthorized("An API key or an administrator's token is needed")
        given = credential.strip().encode("utf-8", "surrogateescape")
        if any([hmac.compare_digest(given, key) for key in self._keys]):  # noqa: C419 - all of them, so that time tells nothing
            return SERVICE
        identity = self._verifier.verify(credential.strip())
        if not identity.admin:
            raise Forbidden("It takes the role admin", role="admin")
        return identity.user_id


def _handler(endpoint: Endpoint, back_end: BackEnd, gate: Gate) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        speaker = gate.speaker(request)
        call: Call[Any, Any] = Call(
            speaker,
            _idempotency_key(request) if endpoint.keyed else "",
            request.match_info,
            _query(request.query, endpoint.query) if endpoint.query else None,
            _body(await request.read(), endpoint.body) if endpoint.body else None,
        )
        return _json(msgspec.json.encode(await endpoint.perform(back_end, call)))

    return handle


def _constant(body: bytes) -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        return _json(body)

    return handle


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _idempotency_key(request: web.Request) -> str:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return ""
    try:
        msgspec.convert(key, PrintableId)
    except msgspec.ValidationError as error:
        raise BadRequest("Not a key", field="Idempotency-Key", reason=str(error)) from error
    check_printable(key, at="Idempotency-Key")
    return key


def _body(text: bytes, kind: type[Struct]) -> Struct:
    check_depth(text, at="body")
    body: Struct = convert(text or b"{}", kind, at="")
    return body


def _query(given: MultiMapping[str], kind: type[Struct]) -> Struct:
    lists = {name for name, hint in get_type_hints(kind).items() if "list" in str(hint)}
    fields: Mapping[str, str | Sequence[str]] = {
        name: given.getall(name) if name in lists else given[name] for name in given
    }
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        missing = re.search(r"(?:missing required|unknown) field `(\w+)`", reason)
        field = missing[1] if missing else place.rstrip("`")
        raise BadRequest(f"{field}: {reason}", field=field, reason=reason) from error


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever goes wrong into the protocol's Error."""
    try:
        return await handler(request)
    except ServiceError as error:
        return refusal(error)
    except web.HTTPException as error:
        response = refusal(_translated(error))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:
        fault = ServiceError(incident=str(ULID()))
        log.exception("fault", action="incident", incident=fault.details["incident"])
        return refusal(fault)


def _translated(error: web.HTTPException) -> ServiceError:
    if error.status == NotFound.reply_code:
        return NotFound("There is no such path")
    translated = BadRequest(error.reason, field="request", reason=error.reason)
    translated.reply_code = error.status  # 405, 413: those of HTTP alone
    return translated

"""PURE: the OpenAPI 3.1 document of the API, made of the types that requests are checked by."""

from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any

import msgspec
from msgspec import Struct

from gateway.api.endpoints import PREFIX, Endpoint
from gateway.api.structs import ErrorMessage, Topic, UserId
from shared.messages.checks import PrintableId

COMMON_ERRORS = {
    400: "What is asked for is not well-formed; `details` name the `field` and the `reason`.",
    401: "No credential, or none that is good.",
    403: "The token has not the role `admin`, or nobody may speak on this topic.",
    404: "The user is not here, and the message was not kept.",
    413: "The body is too large.",
    500: "A fault of the service; `details.incident` is in its log, too.",
    503: "Not possible just now, or, with `details.outcome` `unknown`, perhaps done: repeat it.",
}
RARE = frozenset({404})
PATH_TYPES = {"{user}": UserId, "{topic}": Topic}

Json = dict[str, Any]


def document(endpoints: Iterable[Endpoint]) -> Json:
    """Return the document (OpenAPI Specification 3.1)."""
    table = list(endpoints)
    kinds = dict.fromkeys(
        kind
        for one in table
        for kind in (one.body, one.query, one.answer, ErrorMessage)
        if kind is not None
    )
    schemas, components = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}"
    )
    refs = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Json] = {}
    for one in table:
        paths.setdefault(PREFIX + one.path, {})[one.method.lower()] = _operation(
            one, refs, components
        )
    queries = {one.query.__name__ for one in table if one.query is not None}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Realtime Service",
            "summary": "What back ends can do.",
            "version": version("realtime-service"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": {name: one for name, one in components.items() if name not in queries},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key of REALTIME_API_KEYS, or a token with the role admin.",
                }
            },
        },
    }


def _operation(endpoint: Endpoint, refs: dict[type[Struct], Json], components: Json) -> Json:
    perform = endpoint.perform
    operation: Json = {
        "operationId": perform.__name__,
        "summary": (perform.__doc__ or "").partition("\n")[0],
        "parameters": list(_parameters(endpoint, components)),
        "responses": {
            "200": _content("Done.", refs[endpoint.answer]),
            **{
                str(code): _content(meaning, refs[ErrorMessage])
                for code, meaning in COMMON_ERRORS.items()
                if code not in RARE or code in endpoint.errors
            },
        },
    }
    if endpoint.body is not None:
        content = {"application/json": {"schema": refs[endpoint.body]}}
        required = bool(components[endpoint.body.__name__].get("required"))
        operation["requestBody"] = {"required": required, "content": content}
    return operation


def _content(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _parameters(endpoint: Endpoint, components: Json) -> Iterator[Json]:
    for part in endpoint.path.split("/"):
        if part.startswith("{"):
            schema = msgspec.json.schema(PATH_TYPES[part])
            yield {"name": part.strip("{}"), "in": "path", "required": True, "schema": schema}
    if endpoint.query is not None:
        query = components[endpoint.query.__name__]
        for name, schema in query["properties"].items():
            required = name in query.get("required", ())
            yield {"name": name, "in": "query", "required": required, "schema": schema}
    if endpoint.keyed:
        schema = msgspec.json.schema(PrintableId)
        yield {"name": "Idempotency-Key", "in": "header", "schema": schema}

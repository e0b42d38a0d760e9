"""The WebSocket protocol as an AsyncAPI 3.0 document, made from the code that speaks it.

client.BODIES, server.BODIES -> messages and their schemas
REPLIES                      -> operations
shared/errors.py             -> codes

What a message or a field means is said by its docstring.
"""

import ast
import inspect
import textwrap
from itertools import pairwise
from types import ModuleType
from typing import Any

import msgspec
from msgspec import Raw, Struct

from shared import errors
from shared.errors import ServiceError
from shared.messages import client, server
from shared.messages.checks import Headers, PrintableId
from shared.messages.extensions import TYPE
from shared.messages.frames import PROTOCOL_VERSION

Document = dict[str, Any]

EXTENSION = "X-"
"""Stands for all types that begin so (X1)."""

EXTENSION_SUMMARIES = {
    "client": "A command that a worker outside the service carries out (X1).",
    "server": "Its result; or, to a client that has registered, a command to carry out (X1).",
}

REPLIES = {
    "Authenticate": "AuthStatus",
    "History": "History",
    "Ping": "Pong",
    "PresenceQuery": "PresenceState",
    "Subscribe": "Status",
    "Unsubscribe": "Status",
    EXTENSION: EXTENSION,
}
"""What comes before the Ack of a command, by the command's type (A1)."""

ALSO_UNASKED = frozenset({"AuthStatus", "Status", EXTENSION})
"""Replies that the server sends of itself, too."""

DESCRIPTION = """\
JSON messages over one WebSocket, in both directions; every message is one text frame. The document
describes the server: it receives what clients send, and sends what they get. Binary messages, whose
format is in docs/protocol.md, are answered with a `Status` and, with an `id`, an `Ack`.

A command with an `id` ends in exactly one `Ack`, or in an `Error`; a reply of another type comes
before the `Ack`. Without an `id` there is no `Ack`. Fields that a receiver does not know are to be
ignored.

The ids in brackets, such as (T9), name rules of docs/protocol.md, which says what no schema can.

{codes}

A client that is dropped because it reads too slowly is not told so: it sees 1006.
"""


class _Sent(Struct):
    """The members that any message of a client may have beside ``type`` and ``data``."""

    id: PrintableId | None = None
    """Names the command; printable characters (A8)."""

    metadata: Headers | None = None
    """Headers of the message; those that the server does not know are delivered untouched (X3)."""

    timestamp: int | float | None = None
    """The client's own time, delivered as ``metadata.client_timestamp`` (X3)."""


class _Written(Struct):
    """The members that any message of the server may have beside ``type`` and ``data``."""

    id: str | None = None
    """The ``id`` of the command that this message answers."""


def document() -> Document:
    """Return the document, ready to be written as JSON."""
    schemas: Document = {}
    commands = {**client.BODIES, EXTENSION: server.Object}
    received = _messages("client", client, commands, _Sent, schemas)
    sent = _messages("server", server, {**server.BODIES, EXTENSION: Raw}, _Written, schemas)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Real-time service",
            "version": PROTOCOL_VERSION,
            "description": DESCRIPTION.format(codes=_codes()),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {"ws": _channel([*received, *sent])},
        "operations": {**_receive(), **_send()},
        "components": {
            "messages": {**received, **sent},
            "schemas": schemas,
            "securitySchemes": SECURITY,
        },
    }


# ---- where ---------------------------------------------------------------------------------------

SECURITY = {
    "query": {"type": "httpApiKey", "name": "token", "in": "query"},
    "header": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "subprotocol": {
        "type": "httpApiKey",
        "name": "Sec-WebSocket-Protocol",
        "in": "header",
        "description": "Offer `access_token.<jwt>`, and `realtime.v1` beside it or not.",
    },
}
"""The carriers of the JSON Web Token (S1); one is enough."""


def _servers() -> Document:
    security = [{"$ref": f"#/components/securitySchemes/{name}"} for name in SECURITY]
    return {
        "development": {
            "host": "localhost:8081",
            "protocol": "ws",
            "description": "`make run`",
            "security": security,
        },
        "production": {
            "host": "{host}",
            "protocol": "wss",
            "description": "A gateway with a certificate, or a proxy in front",
            "variables": {"host": {"description": "Where it listens"}},
            "security": security,
        },
    }


def _channel(messages: list[str]) -> Document:
    query = {
        "type": "object",
        "properties": {
            "token": {"type": "string", "description": "The JSON Web Token (S1)"},
            "acks": {"enum": ["1"], "description": "The client confirms direct messages (R2)"},
        },
    }
    return {
        "address": "/ws",
        "description": "One WebSocket. The first message is a `Status` `connected` (S7).",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "query": query, "bindingVersion": "0.1.0"}},
    }


# ---- what is said --------------------------------------------------------------------------------


def _messages(
    side: str, module: ModuleType, bodies: dict[str, Any], around: type[Struct], schemas: Document
) -> Document:
    """Return the messages of one side by name; put their schemas among the others."""
    refs, found = msgspec.json.schema_components(
        [around, *bodies.values()], ref_template=f"#/components/schemas/{side}.{{name}}"
    )
    members = _described(found.pop(around.__name__), around)["properties"]
    schemas |= {
        f"{side}.{name}": _described(schema, getattr(module, name))
        for name, schema in found.items()
    }
    messages = {
        f"{side}.{name}": _message(name, bodies[name], data, members)
        for name, data in zip(bodies, refs[1:], strict=True)
    }
    extension = messages[f"{side}.{EXTENSION}"]
    extension["summary"] = EXTENSION_SUMMARIES[side]
    extension["payload"]["properties"]["type"] = {"type": "string", "pattern": TYPE}
    return messages


def _message(name: str, body: Any, data: Document, members: Document) -> Document:
    data.pop("discriminator", None)  # msgspec means OpenAPI's, which AsyncAPI writes otherwise
    message: Document = {"name": name}
    if isinstance(body, type):
        message["summary"] = _markdown(body.__doc__ or "")
    message["correlationId"] = {"location": "$message.payload#/id"}
    message["payload"] = {
        "type": "object",
        "properties": {"type": {"const": name}, "data": data, **members},
        "required": ["type", "data"],
    }
    return message


def _described(schema: Document, kind: type) -> Document:
    """Add what the docstrings of the fields say, and leave out what says nothing."""
    notes = _notes(kind)
    if "description" in schema:
        schema["description"] = _markdown(schema["description"])
    for name, field in schema.get("properties", {}).items():
        shapes = [shape for shape in field.get("anyOf", []) if shape]
        if len(shapes) == 1:  # the other one is a Raw: what is written already, in this shape
            del field["anyOf"]
            field.update(shapes[0])
        if name in notes:
            field["description"] = notes[name]
    return schema


def _notes(kind: type) -> dict[str, str]:
    """Return the docstrings of a class's fields: the strings that stand under them."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    [definition] = [one for one in tree.body if isinstance(one, ast.ClassDef)]
    notes = {}
    for field, note in pairwise(definition.body):
        match field, note:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                notes[name] = _markdown(text)
    return notes


def _markdown(docstring: str) -> str:
    return inspect.cleandoc(docstring).replace("``", "`")


# ---- who says it ---------------------------------------------------------------------------------


def _ref(name: str) -> Document:
    return {"$ref": f"#/channels/ws/messages/{name}"}


def _receive() -> Document:
    """Return an operation for each type that clients send, with all that may answer it."""
    channel = {"$ref": "#/channels/ws"}
    operations = {}
    for name in (*client.BODIES, EXTENSION):
        first = [REPLIES[name]] if name in REPLIES else []
        replies = [_ref(f"server.{reply}") for reply in (*first, "Ack", "Error")]
        operations[f"receive{name}"] = {
            "action": "receive",
            "channel": channel,
            "messages": [_ref(f"client.{name}")],
            "reply": {"channel": channel, "messages": replies},
        }
    return operations


def _send() -> Document:
    """Return an operation for each type that the server sends of itself."""
    only_replies = {"Ack", *REPLIES.values()} - ALSO_UNASKED
    return {
        f"send{name}": {
            "action": "send",
            "channel": {"$ref": "#/channels/ws"},
            "messages": [_ref(f"server.{name}")],
        }
        for name in (*server.BODIES, EXTENSION)
        if name not in only_replies
    }


# ---- codes ---------------------------------------------------------------------------------------


def _codes() -> str:
    """Return the codes of Errors and closes as tables."""
    kinds = [one for one in vars(errors).values() if isinstance(one, type)]
    faults = [one for one in kinds if issubclass(one, ServiceError)]
    codes: dict[int, str] = {}
    for fault in faults:
        codes.setdefault(fault.reply_code, _means(fault))  # the base comes before the special
    closes = [(one.close_code, _means(one)) for one in faults if one.close_code is not None]
    return "\n\n".join([_table("Error", list(codes.items())), _table("Close", closes)])


def _means(fault: type[ServiceError]) -> str:
    return (fault.__doc__ or "").partition("\n")[0]


def _table(head: str, rows: list[tuple[int, str]]) -> str:
    lines = [f"| {code} | {means} |" for code, means in sorted(rows)]
    return "\n".join([f"| {head} | means |", "|---|---|", *lines])

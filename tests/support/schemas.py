"""The schemas of the AsyncAPI document, for whoever has a message to check."""

from functools import cache
from typing import Any

from jsonschema import Draft7Validator

from standalone.asyncapi import EXTENSION, document

DOCUMENT = document()


@cache
def _validator(name: str) -> Draft7Validator:
    # Draft 7 looks at nothing beside "$ref"; what it points to is found in the same document.
    return Draft7Validator({**DOCUMENT, "$ref": f"#/components/messages/{name}/payload"})


def misfits(message: dict[str, Any], side: str = "server") -> list[str]:
    """Return what is wrong with a message of this side; nothing if it is as documented."""
    kind = str(message.get("type"))
    name = f"{side}.{EXTENSION if kind.startswith(EXTENSION) else kind}"
    if name not in DOCUMENT["components"]["messages"]:
        return [f"{name} is not documented"]
    found = _validator(name).iter_errors(message)
    return [f"{name} at {error.json_path}: {error.message}" for error in found]

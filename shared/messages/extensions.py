"""What gateways and the workers of extensions tell each other (X1).

It is JSON, for workers may be written in any language; docs/extensions.md describes it to them.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from shared.errors import WorkerFailed

TYPE = r"^X-[A-Za-z0-9][A-Za-z0-9_-]{0,63}$(?!\n)"
"""What a type is; Python's ``$`` alone would let a newline follow."""

MAX_ANSWER_BYTES = 1_048_576
"""An answer is written to the client in one message."""


class ExtensionCommand(Struct, omit_defaults=True):
    """A client's command for a worker; ``data`` and ``metadata`` are as the client wrote them."""

    type: str
    data: Raw
    from_user: str
    connection_id: str
    sent_at_ms: int
    id: str | None = None
    metadata: Raw | UnsetType = UNSET


class Failure(Struct):
    """An error that a worker has the client told."""

    code: Annotated[int, Meta(ge=400, le=599)]
    message: str
    details: dict[str, Raw] = {}


class ExtensionAnswer(Struct, omit_defaults=True):
    """What a worker answers: either a result, or an error."""

    data: Raw | UnsetType = UNSET
    error: Failure | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it holds the one or the other."""
        return (self.data is UNSET) != (self.error is None)


encode = msgspec.json.encode
"""Return a command or an answer as bytes."""


def read_command(body: bytes) -> ExtensionCommand:
    """Return the command that a gateway has sent.

    Raises:
        ValueError: it is none.
    """
    command: ExtensionCommand = _read(body, ExtensionCommand)
    return command


def read_answer(body: bytes) -> bytes:
    """Return the result that a worker has answered with, as JSON.

    Raises:
        WorkerFailed: it has answered with an error.
        ValueError: this is no answer.
    """
    if len(body) > MAX_ANSWER_BYTES:
        raise ValueError(f"an answer of {len(body)} bytes")
    answer: ExtensionAnswer = _read(body, ExtensionAnswer)
    if not answer.is_whole:
        raise ValueError("an answer holds either data or error")
    if answer.error is not None:
        raise WorkerFailed(answer.error.code, answer.error.message, answer.error.details)
    return bytes(answer.data) if isinstance(answer.data, Raw) else b""


def _read(body: bytes, kind: Any) -> Any:
    try:
        body.decode()  # what is handed on raw is not looked at elsewhere
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no JSON of this form: {error}") from error

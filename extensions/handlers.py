"""What a handler is: a coroutine that is given an ``Ask`` and returns the result, as JSON goes."""

import importlib
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from shared.messages.extensions import TYPE
from shared.settings import WrongSettings


@dataclass(frozen=True)
class Ask:
    """A client's command."""

    type: str
    data: Any
    """The client's JSON."""

    from_user: str
    """Who asks, from the token: the only name to trust."""

    connection_id: str
    message_id: str
    """Stays the same when the command comes again, because a worker died with it."""

    sent_at_ms: int
    id: str | None
    """What the client calls the command, if it does."""

    metadata: dict[str, Any]
    """The headers of the client's message."""


class ExtensionError(Exception):
    """An error that the client is told, with a code from 400 to 599; ``details`` must be JSON."""

    def __init__(self, code: int, message: str, **details: Any) -> None:
        if not 400 <= code <= 599:  # noqa: PLR2004 - the codes of errors
            raise ValueError(f"{code} is not the code of an error")
        self.code = code
        self.message = message
        self.details = details
        super().__init__(message)


Handler = Callable[[Ask], Awaitable[object]]


@dataclass(frozen=True)
class Extension:
    """A handler and the type of the commands that it carries out."""

    type: str
    handler: Handler

    async def __call__(self, ask: Ask) -> object:
        """Carry out a command; return the result."""
        return await self.handler(ask)


def extension(type: str) -> Callable[[Handler], Extension]:  # noqa: A002 - the protocol's word
    """Make a coroutine function the handler of a type, such as ``X-CustomAction``.

    Raises:
        ValueError: this is no type of an extension.
    """
    if not re.match(TYPE, type):
        raise ValueError(f"{type!r} is not X- and 1 to 64 letters, digits, hyphens, underscores")
    return lambda handler: Extension(type, handler)


def load(modules: Iterable[str]) -> dict[str, Extension]:
    """Return the handlers that these modules hold, by their types.

    Raises:
        WrongSettings: there is no such module, none in it, or two for one type.
    """
    found: dict[str, Extension] = {}
    for name in modules:
        handlers = {one for one in vars(_module(name)).values() if isinstance(one, Extension)}
        if not handlers:
            raise WrongSettings(f"REALTIME_EXTENSIONS: no handler in {name}")
        for one in handlers:
            if found.setdefault(one.type, one) != one:
                raise WrongSettings(f"REALTIME_EXTENSIONS: two handlers for {one.type}")
    return found


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # it is there, and lacks something itself
        raise WrongSettings(f"REALTIME_EXTENSIONS: no module named {name}") from error

"""PURE: the extensions whose commands one connection carries out (protocol decision X1)."""

from gateway.core.effects import Answer, Ask, Serve
from gateway.core.identity import Grants
from shared.errors import Forbidden
from shared.messages import client, extensions

MAX_TYPES = 32
NO_TYPES: frozenset[str] = frozenset()


class Registrations:
    """The types that a connection serves."""

    __slots__ = ("types",)

    def __init__(self) -> None:
        self.types = NO_TYPES

    def decide(self, command: client.Command, ask: str, grants: Grants) -> Ask | Serve | Answer:
        """Decide what a message that has to do with extensions leads to.

        ``ask`` is the id minted for it.

        Raises:
            Forbidden: a type is not granted, or there are too many; nothing has changed.
        """
        match command.body:
            case client.Register(types=types):
                return Serve(self._add(types, grants), command.id)
            case client.Unregister(types=types):
                self.remove(types)
                return Serve([], command.id)
            case client.Reply() as body:
                return Answer(body.to, extensions.encode(body.answer), command.id)
            case client.Extension() as body:
                return Ask(body, command.metadata, command.id, ask)
            case _:
                raise TypeError(f"{type(command.body).__name__} has nothing to do with extensions")

    def _add(self, types: list[str], grants: Grants) -> list[str]:
        """Serve these, too; return those that are new."""
        for kind in types:
            grants.require("extensions", (kind,))
        new = [kind for kind in dict.fromkeys(types) if kind not in self.types]
        if len(self.types) + len(new) > MAX_TYPES:
            raise Forbidden("Too many extensions", limit=MAX_TYPES)
        self.types = self.types.union(new)
        return new

    def remove(self, types: list[str]) -> None:
        """Serve these no more."""
        self.types = self.types.difference(types)

    def keep_granted(self, grants: Grants) -> None:
        """Serve no more what is not granted any more."""
        for kind in self.types:
            try:
                grants.require("extensions", (kind,))
            except Forbidden:
                self.remove([kind])

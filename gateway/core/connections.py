"""PURE: the connections of this node, by id and by user."""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Held(Protocol):
    """What is kept here."""

    @property
    def id(self) -> str:
        """The connection's id."""

    @property
    def user_id(self) -> str:
        """Whose connection it is."""


One = TypeVar("One", bound=Held)


class Connections(Generic[One]):
    """All connections of the node."""

    def __init__(self) -> None:
        self._by_id: dict[str, One] = {}
        self._by_user: dict[str, dict[str, One]] = {}

    def add(self, connection: One) -> None:
        """Take a connection in."""
        self._by_id[connection.id] = connection
        self._by_user.setdefault(connection.user_id, {})[connection.id] = connection

    def remove(self, connection: One) -> None:
        """Let a connection go."""
        self._by_id.pop(connection.id, None)
        own = self._by_user.get(connection.user_id, {})
        own.pop(connection.id, None)
        if not own:
            self._by_user.pop(connection.user_id, None)

    def get(self, connection_id: str) -> One | None:
        """Return the connection with this id, if it is here."""
        return self._by_id.get(connection_id)

    def of_user(self, user_id: str) -> list[One]:
        """Return all connections of a user."""
        return list(self._by_user.get(user_id, {}).values())

    def __iter__(self) -> Iterator[One]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

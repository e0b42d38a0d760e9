"""PURE: whose messages wait until nodes have settled what they were given before (R1).

A user who moves may leave messages behind that a node has yet to hand to a connection or back to
the owner. Nothing may overtake those: the owner asks the node, through the queue that holds them,
to say when it has come so far, and keeps what comes for the user meanwhile.
"""


class Holds:
    """Which nodes were given something for which users, and which are to say that it is settled."""

    def __init__(self) -> None:
        self._given: dict[str, set[str]] = {}
        """By user: nodes that were given something since they last said so."""

        self._awaited: dict[str, set[str]] = {}
        """By user: nodes that are to say so; never empty."""

    def __contains__(self, user_id: str) -> bool:
        """Whether a user's messages are to wait."""
        return user_id in self._awaited

    def given(self, user_id: str, nodes: list[str]) -> None:
        """Learn that nodes are given something for a user."""
        self._given.setdefault(user_id, set()).update(nodes)

    def given_to(self, user_id: str) -> set[str]:
        """Return the nodes that may not have settled all they were given for a user."""
        return set(self._given.get(user_id, ()))

    def begin(self, user_id: str, node_id: str) -> bool:
        """Wait for a node; return whether it is to be asked: it may have been already."""
        awaited = self._awaited.setdefault(user_id, set())
        if node_id in awaited:
            return False
        awaited.add(node_id)
        return True

    def settled(self, user_id: str, node_id: str) -> bool:
        """A node has settled all for a user; return whether nobody else is waited for."""
        self._forget(self._given, user_id, node_id)
        return user_id in self._awaited and self._forget(self._awaited, user_id, node_id)

    def ended(self, node_id: str) -> list[str]:
        """Wait for a node no longer; return the users for whom nobody is waited for now."""
        for user_id in [user for user, nodes in self._given.items() if node_id in nodes]:
            self._forget(self._given, user_id, node_id)
        waiting = [user for user, nodes in self._awaited.items() if node_id in nodes]
        return [user for user in waiting if self._forget(self._awaited, user, node_id)]

    @staticmethod
    def _forget(nodes_of: dict[str, set[str]], user_id: str, node_id: str) -> bool:
        """Take a node out; return whether none is left."""
        nodes = nodes_of.get(user_id, set())
        nodes.discard(node_id)
        if not nodes:
            nodes_of.pop(user_id, None)
        return not nodes

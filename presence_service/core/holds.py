"""PURE: whose messages wait until nodes have settled what they were given before (R1).

A user who moves may leave messages behind that a node has yet to hand to a connection or back to
the owner. Nothing may overtake those: the owner asks the node, through the queue that holds them,
to say when it has come so far, and keeps what comes for the user meanwhile.
"""

from collections import Counter

EVERYBODY = ""
"""Stands for all users: nobody knows what an earlier owner has given to whom."""


class Holds:
    """Which nodes were given something for which users, and which are to say that it is settled."""

    def __init__(self) -> None:
        self._given: dict[str, set[str]] = {}
        """By user: nodes that were given something, and may have it yet."""

        self._awaited: dict[str, Counter[str]] = {}
        """By user: how often nodes are to say so; never empty."""

    def __contains__(self, user_id: str) -> bool:
        """Whether a user's messages are to wait."""
        return user_id in self._awaited or EVERYBODY in self._awaited

    def given(self, user_id: str, nodes: list[str]) -> None:
        """Learn that nodes are given something for a user."""
        self._given.setdefault(user_id, set()).update(nodes)

    def given_to(self, user_id: str) -> set[str]:
        """Return the nodes that may have something for a user yet."""
        return set(self._given.get(user_id, ()))

    def awaits(self, user_id: str, node_id: str) -> bool:
        """Whether a node was asked already."""
        return node_id in self._awaited.get(user_id, ())

    def begin(self, user_id: str, node_id: str) -> None:
        """Wait for a node, which is asked now: once more if it was asked before."""
        self._awaited.setdefault(user_id, Counter())[node_id] += 1

    def settled(self, user_id: str, node_id: str) -> bool:
        """A node has settled all for a user; return whether nothing more is waited for."""
        awaited = self._awaited.get(user_id)
        if awaited is None:
            return False
        awaited[node_id] -= 1
        return self._wait_on(user_id)

    def ended(self, node_id: str) -> None:
        """Learn that a node is over, with all that it had."""
        for user_id in [user for user, nodes in self._given.items() if node_id in nodes]:
            self.left(user_id, node_id)

    def wait_no_longer(self, node_id: str) -> list[str]:
        """Wait for a node no longer; return the users for whom nothing is waited for now."""
        waiting = [user for user, nodes in self._awaited.items() if node_id in nodes]
        for user_id in waiting:
            del self._awaited[user_id][node_id]
        return [user_id for user_id in waiting if self._wait_on(user_id)]

    def left(self, user_id: str, node_id: str) -> None:
        """Learn that a node has nothing for a user any more."""
        nodes = self._given.get(user_id, set())
        nodes.discard(node_id)
        if not nodes:
            self._given.pop(user_id, None)

    def _wait_on(self, user_id: str) -> bool:
        """Go on waiting if there is anything to wait for; return whether there is nothing."""
        left = self._awaited[user_id] = +self._awaited[user_id]
        if not left:
            del self._awaited[user_id]
        return not left

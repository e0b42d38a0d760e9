"""PURE: which nodes had nobody for a message."""

from shared.recent import Recent

MAX_RETURNS = 10_000


class Returns:
    """Which nodes have handed which message back; of the last ones only."""

    def __init__(self) -> None:
        self._nodes: Recent[tuple[str, str], set[str]] = Recent(MAX_RETURNS)

    def note(self, user_id: str, message_id: str, node_id: str) -> set[str]:
        """Add a node; return all that have handed this message back, to be changed in place.

        A notification may be for several users under one id.
        """
        nodes = self._nodes.get((user_id, message_id), set())
        nodes.add(node_id)
        self._nodes.put((user_id, message_id), nodes)
        return nodes

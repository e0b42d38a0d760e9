"""PURE: which nodes had nobody for a message."""

from collections import OrderedDict

MAX_RETURNS = 10_000


class Returns:
    """Which nodes have handed which message back; of the last ones only."""

    def __init__(self) -> None:
        self._nodes: OrderedDict[str, set[str]] = OrderedDict()

    def note(self, message_id: str, node_id: str) -> set[str]:
        """Add a node; return all that have handed this message back, to be changed in place."""
        nodes = self._nodes.setdefault(message_id, set())
        nodes.add(node_id)
        self._nodes.move_to_end(message_id)
        if len(self._nodes) > MAX_RETURNS:
            self._nodes.popitem(last=False)
        return nodes

"""PURE: what of one channel of RabbitMQ is acknowledged; tags count its messages from 1."""

from collections.abc import Iterator


class Acknowledgements:
    """Says with one word for many what can be said so, and never more than was told."""

    def __init__(self) -> None:
        self._up_to = 0
        """This one and all before it are acknowledged."""

        self._beyond: set[int] = set()

    def add(self, tags: list[int]) -> Iterator[tuple[int, bool]]:
        """Yield what to tell the broker: tags, each with whether all before it are meant, too."""
        self._beyond.update(tags)
        while self._up_to + 1 in self._beyond:
            self._up_to += 1
            self._beyond.remove(self._up_to)
        whole = max((tag for tag in tags if tag <= self._up_to), default=0)
        if whole:
            yield whole, True
        for tag in tags:
            if tag > self._up_to:
                yield tag, False

"""Tokens in what was logged (W7)."""

import logging
import re
from pathlib import Path

TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{16,}")
"""Base64 of a JSON object, as header and payload of every token are, and nothing that is logged."""


def leaked(place: Path) -> list[str]:
    """Return the log files below that hold a token or a part of one, with the line."""
    return [
        f"{path}: {line.strip()[:300]}"
        for path in sorted(place.rglob("*.log"))
        for line in path.read_text(errors="replace").splitlines()
        if TOKEN.search(line)
    ]


class Watch(logging.Handler):
    """Reads all that libraries log in this process."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.leaked: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Remember a line that holds a token."""
        if TOKEN.search(line := self.format(record)):
            self.leaked.append(f"{record.name}: {line[:300]}")

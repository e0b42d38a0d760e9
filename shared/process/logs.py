"""Structured logs: every line has an ``action``, ours and those of libraries."""

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.types import EventDict, Processor

from shared.settings import Settings
from shared.table import escaped

LIBRARY = "library"
"""The action of lines that others have written."""

PLAIN = (bool, int, float, type(None))


def configure(settings: Settings, service: str) -> None:
    """Write log lines to standard error, as text or as JSON.

    Each bears the ``service`` and the ``node``. What clients have named cannot begin a line nor
    steer a terminal (W25).
    """
    level = logging.getLevelName(settings.log_level.upper())
    always: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Bound(service, settings.node_id),
        structlog.processors.format_exc_info,
    ]
    rendered: list[Processor] = (
        [structlog.processors.JSONRenderer(json.dumps)]
        if settings.log_json
        else [
            _spell_out,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )
    structlog.configure(
        processors=[*always, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _adopt_libraries(always, rendered)


def _adopt_libraries(always: list[Processor], rendered: list[Processor]) -> None:
    """Write what libraries log in the same form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, _name_library, *always],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    hush_libraries()


def hush_libraries() -> None:
    """Let libraries say nothing of what they meet: our own lines do."""
    for library in ("aio_pika", "aiormq"):
        logging.getLogger(library).setLevel(logging.CRITICAL)


class _Bound:
    """Adds what is the same on every line of a process."""

    def __init__(self, service: str, node: str) -> None:
        self._same = {"service": service, "node": node}

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        for name, value in self._same.items():
            event.setdefault(name, value)
        return event


def _name_library(_logger: Any, _method: str, event: EventDict) -> EventDict:
    event["action"] = LIBRARY
    return event


def _spell_out(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Make of each value text that stays on its line; a traceback's lines are set in."""
    traceback = event.pop("exception", None)
    safe: MutableMapping[str, Any] = {
        name: value if isinstance(value, PLAIN) else escaped(str(value))
        for name, value in event.items()
    }
    if traceback is not None:
        lines = str(traceback).splitlines()
        safe["exception"] = "\n".join(f"  | {escaped(line)}" for line in lines)
    return safe

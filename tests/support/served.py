"""A service for tests that wait: it runs in a thread of its own."""

import asyncio
import sys
import threading
from typing import Any

import structlog

from tests.support.embedded import EmbeddedServer


class Served:
    """An embedded server, at ``url``."""

    def __init__(self) -> None:
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> "Served":
        # What the service logs meanwhile is no part of what a command in this process prints.
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
        self._thread.start()
        self._server = self.do(self._make())
        self.do(self._server.start_server())
        self.url = f"http://127.0.0.1:{self._server.port}"
        return self

    async def _make(self) -> EmbeddedServer:
        return EmbeddedServer()

    def do(self, work: Any) -> Any:
        """Wait for something in the server's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def __exit__(self, *_: object) -> None:
        self.do(self._server.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        structlog.reset_defaults()

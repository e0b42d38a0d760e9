"""The API keeps to its OpenAPI document: whatever is asked, the answer is one of those described.

Schemathesis makes requests from the document, good and bad ones, and judges the answers.
"""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.api import backend
from gateway.api.endpoints import ENDPOINTS
from gateway.api.openapi import document
from tests.support.embedded import EmbeddedServer, token

DOCUMENT = Path(__file__).parents[2] / "docs/openapi.json"


class Served:
    """An embedded server in a thread of its own: schemathesis waits for its answers."""

    def __init__(self) -> None:
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> "Served":
        self._thread.start()
        self._server = self._do(self._make())
        self._do(self._server.start_server())
        self.url = f"http://127.0.0.1:{self._server.port}"
        return self

    async def _make(self) -> EmbeddedServer:
        return EmbeddedServer()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def __exit__(self, *_: object) -> None:
        self._do(self._server.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch, Served() as server:
        patch.setattr(backend, "LOOK_SECONDS", 0.05)
        yield server


def test_every_answer_is_one_that_the_document_describes(served: Served) -> None:
    credential = token("ops", roles=["admin"])
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/api/v1/openapi.json"),
        *("--header", f"Authorization: Bearer {credential}"),
        *("--max-examples", "20", "--phases", "coverage,fuzzing", "--no-color"),
        *("--generation-codec", "ascii"),  # of what else is printable, Python and it differ
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_document_that_is_checked_in_is_the_one_that_is_served() -> None:
    assert json.loads(DOCUMENT.read_text()) == document(ENDPOINTS), "run: make docs"

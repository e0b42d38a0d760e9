"""The API keeps to its OpenAPI document: whatever is asked, the answer is one of those described.

Schemathesis makes requests from the document, good and bad ones, and judges the answers.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.api import backend
from gateway.api.endpoints import ENDPOINTS
from gateway.api.openapi import document
from tests.support.embedded import token
from tests.support.served import Served

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/openapi.json"


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
    hooks = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.support.api_requests"}
    done = subprocess.run(
        command, cwd=ROOT, env=hooks, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_document_that_is_checked_in_is_the_one_that_is_served() -> None:
    assert json.loads(DOCUMENT.read_text()) == document(ENDPOINTS), "run: make docs"

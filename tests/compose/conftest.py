"""One stack for all tests of containers."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.compose.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Everything of the compose file, healthy; its secrets are this process's, too."""
    with TemporaryDirectory(prefix="realtime-test-") as clone, pytest.MonkeyPatch.context() as own:
        running = Stack(Path(clone))
        try:
            running.up()
            own.setenv("REALTIME_JWT_SECRET", running.secret("jwt_secret"))
            own.setenv("REALTIME_JWT_ISSUER", "realtime")
            yield running
        finally:
            running.down()

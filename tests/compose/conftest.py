"""One stack for all tests of containers."""

from collections.abc import Iterator

import pytest

from tests.compose.stack import ROOT, Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Everything of the compose file, healthy; its secrets are this process's, too."""
    running = Stack()
    try:
        running.up()
        with pytest.MonkeyPatch.context() as environment:
            secret = (ROOT / "secrets" / "jwt_secret").read_text().strip()
            environment.setenv("REALTIME_JWT_SECRET", secret)
            environment.setenv("REALTIME_JWT_ISSUER", "realtime")
            yield running
    finally:
        running.down()

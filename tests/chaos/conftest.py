"""Fixtures of the tests of single bars, and how much of a bar's count they run."""

from collections.abc import Iterator

import pytest

from standalone.local_cluster import LocalCluster
from tests.support.broker import Troubled
from tests.support.cluster import make_cluster


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--scale",
        type=int,
        default=1,
        help="multiply the counts of the bars: 1 for the small figures, 10 for the soak",
    )


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> int:
    """By how much the counts are multiplied."""
    # Without a default pytest would fail when this file was not there yet as options were read.
    return int(request.config.getoption("scale", 1))


@pytest.fixture(scope="module")
def cluster(rabbitmq: Troubled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Two gateways, two routers, two presence services."""
    with make_cluster(rabbitmq.url, tmp_path_factory.mktemp("logs")) as running:
        yield running

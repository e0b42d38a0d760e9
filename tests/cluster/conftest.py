"""Clusters of real processes over a RabbitMQ node of their own."""

from collections.abc import Iterator

import pytest

from standalone.local_cluster import LocalCluster
from tests.support.broker import Troubled
from tests.support.cluster import make_cluster


@pytest.fixture(scope="module")
def cluster(rabbitmq: Troubled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Two gateways, two routers, two presence services."""
    with make_cluster(rabbitmq.url, tmp_path_factory.mktemp("logs")) as running:
        yield running

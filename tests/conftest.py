"""Fixtures of the whole suite."""

from collections.abc import Iterator

import pytest

from standalone.private_rabbitmq import PrivateRabbitMQ
from tests.support.rabbitmq import NoRabbitMQ, any_rabbitmq, can_run_privately


@pytest.fixture(scope="session")
def rabbitmq_url() -> Iterator[str]:
    """The RabbitMQ that all tests share; choose random names on it."""
    try:
        with any_rabbitmq() as url:
            yield url
    except NoRabbitMQ as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[PrivateRabbitMQ]:
    """A node of the module's own, to be killed and restarted; leave it running."""
    if not can_run_privately():
        pytest.fail("A RabbitMQ that tests may kill is needed: install rabbitmq-server")
    with PrivateRabbitMQ() as node:
        yield node

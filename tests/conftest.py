"""Fixtures of the whole suite."""

import logging
from collections.abc import Iterator

import pytest

from tests.support.broker import Troubled, troubled
from tests.support.leaks import Watch, leaked
from tests.support.rabbitmq import NoRabbitMQ, any_rabbitmq, can_run_privately


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--image", help="every RabbitMQ in a container of this image, by Docker")
    parser.addoption("--seed", type=int, help="of the junk that is sent; else by chance")


@pytest.fixture(scope="session", autouse=True)
def _no_token_is_ever_logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Look, when all is over, into the logs of every process that a test has started (W7)."""
    logging.getLogger().addHandler(watch := Watch())
    yield
    logging.getLogger().removeHandler(watch)
    found = leaked(tmp_path_factory.getbasetemp()) + watch.leaked
    assert not found, "tokens were logged:\n" + "\n".join(found[:20])


@pytest.fixture(scope="session")
def image(request: pytest.FixtureRequest) -> str | None:
    """Of what RabbitMQ containers are made, instead of using what there is."""
    # Without a default pytest would fail when this file was not there yet as options were read.
    asked = request.config.getoption("image", None)
    return str(asked) if asked else None


@pytest.fixture(scope="session")
def rabbitmq_url(image: str | None) -> Iterator[str]:
    """The RabbitMQ that all tests share; choose random names on it."""
    if image:
        with troubled(image) as node:
            yield node.url
        return
    try:
        with any_rabbitmq() as url:
            yield url
    except NoRabbitMQ as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="module")
def rabbitmq(image: str | None) -> Iterator[Troubled]:
    """A node of the module's own, to be killed and restarted; leave it running."""
    if not image and not can_run_privately():
        pytest.fail("A RabbitMQ that tests may kill is needed: install rabbitmq-server")
    with troubled(image) as node:
        yield node

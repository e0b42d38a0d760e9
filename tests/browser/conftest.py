"""A browser, and a cluster of real processes to look at."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from standalone.local_cluster import LocalCluster
from tests.support.broker import Troubled
from tests.support.browser import FLAGS, chromium
from tests.support.cluster import make_cluster


@pytest.fixture(scope="session")
def browser_path() -> str:
    """Where Chromium is."""
    if (path := chromium()) is None:
        pytest.fail("These tests need a browser: install chromium")
    return path


@pytest.fixture
async def browser(browser_path: str) -> AsyncIterator[Browser]:
    """A browser that runs."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=browser_path, args=[*FLAGS])
        yield running
        await running.close()


@pytest.fixture
def cluster(rabbitmq: Troubled, tmp_path: Path) -> Iterator[LocalCluster]:
    """Two gateways, two routers, two presence services, each test's own."""
    rabbitmq.ctl("add_vhost", tmp_path.name)
    rabbitmq.ctl("set_permissions", "-p", tmp_path.name, "guest", ".*", ".*", ".*")
    with make_cluster(f"{rabbitmq.url}{tmp_path.name}", tmp_path) as running:
        yield running

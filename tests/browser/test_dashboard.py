"""The dashboard in a real browser, before a cluster of real processes."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from playwright.async_api import Browser, Page, expect
from yarl import URL

from standalone.local_cluster import LocalCluster, Service
from tests.support.broker import Troubled
from tests.support.cluster import clients, url_of

pytestmark = pytest.mark.rabbitmq

WAIT_MS = 30_000
"""For what the cluster tells within seconds, on a busy machine."""

NARROW = {"width": 390, "height": 800}


@dataclass
class View:
    """An open page, and what it complains of and asks for."""

    page: Page
    home: str
    errors: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def open(self) -> None:
        """Open the dashboard and wait until it shows the cluster."""
        self.page.on("console", lambda one: self._hear(one.type, one.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        await self.page.goto(f"{self.home}/dashboard")
        await expect(self.page.locator("#gateways tbody tr")).to_have_count(2, timeout=WAIT_MS)

    def _hear(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.errors.append(text)

    async def shows(self, selector: str, *texts: str) -> None:
        """Wait until the elements that a selector finds have these texts, in order."""
        await expect(self.page.locator(selector)).to_have_text([*texts], timeout=WAIT_MS)


@pytest.fixture
async def view(cluster: LocalCluster, browser: Browser) -> AsyncIterator[View]:
    """The dashboard of the first gateway; at the end no error may have been met."""
    first = cluster.of("gateway")[0]
    assert first.admin_url is not None
    shown = View(await browser.new_page(viewport={"width": 1280, "height": 900}), first.admin_url)
    await shown.open()
    yield shown
    assert shown.errors == []


NODES = "#gateways tbody td:first-child"
CONNECTIONS = "#gateways tbody td:nth-child(3)"


async def test_it_follows_who_connects_and_which_gateway_dies(
    cluster: LocalCluster, view: View
) -> None:
    await view.shows(NODES, "gateway-1", "gateway-2")
    await view.shows(CONNECTIONS, "0", "0")
    places = [(url_of(cluster, at), f"alice-{number}") for at, number in ((0, 1), (1, 2), (1, 3))]
    async with clients(*places):
        await view.shows(CONNECTIONS, "1", "2")
        await view.shows("#totals dd >> nth=0", "3")
        assert await view.page.locator('[data-plot="connections"] path').get_attribute("d")
    await view.shows(CONNECTIONS, "0", "0")
    cluster.of("gateway")[1].kill()
    await view.shows(NODES, "gateway-1")
    assert "alice" not in await view.page.content()
    assert {URL(one).origin() for one in view.asked} == {URL(view.home)}


async def test_partitions_that_nobody_serves_are_told(cluster: LocalCluster, view: View) -> None:
    router = '[data-service="router"]'
    await view.shows(f"{router} small", "16 partitions, all served")
    await expect(view.page.locator(f"{router} .map .unowned")).to_have_count(0)
    for one in cluster.of("router"):
        one.kill()
    await view.shows(f"{router} small", "16 of 16 partitions without an owner")
    await expect(view.page.locator(f"{router} .map .unowned")).to_have_count(16)
    await expect(view.page.locator('[data-service="presence"] .unowned')).to_have_count(0)


async def test_without_rabbitmq_it_says_so_keeps_what_it_had_and_goes_on_afterwards(
    rabbitmq: Troubled, view: View
) -> None:
    trouble = view.page.locator("#trouble")
    await expect(trouble).to_be_hidden()
    rabbitmq.kill()
    try:
        await expect(trouble).to_contain_text("RabbitMQ cannot be reached", timeout=WAIT_MS)
        await view.shows(NODES, "gateway-1", "gateway-2")
    finally:
        rabbitmq.restart()
    await expect(trouble).to_be_hidden(timeout=2 * WAIT_MS)


async def test_it_says_when_its_gateway_is_gone(cluster: LocalCluster, view: View) -> None:
    home: Service = cluster.of("gateway")[0]
    home.kill()
    trouble = view.page.locator("#trouble")
    await expect(trouble).to_contain_text("does not answer", timeout=WAIT_MS)
    assert all("ERR_CONNECTION" in one for one in view.errors)
    view.errors.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_on_a_telephone_nothing_is_scrolled_sideways(view: View, scheme: str) -> None:
    await view.page.emulate_media(color_scheme=scheme)
    await view.page.set_viewport_size(NARROW)
    assert await view.page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]


async def test_by_keyboard_one_reads_the_plots_and_pauses_and_sees_where_one_is(
    view: View,
) -> None:
    page = view.page
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.id") == "pause"
    assert await page.evaluate(outline) == "solid"
    await page.keyboard.press("Enter")
    await expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    await page.keyboard.press("Enter")
    for plot in ("connections", "rates", "latency"):
        await page.keyboard.press("Tab")
        at = "document.activeElement.closest('figure').dataset.plot"
        assert await page.evaluate(at) == plot
        assert await page.evaluate(outline) == "solid"
        await page.keyboard.press("ArrowLeft")
        await expect(page.locator(f'[data-plot="{plot}"] .cursor')).to_have_count(1)
        await expect(page.locator(f'[data-plot="{plot}"] .key')).to_contain_text("s ago")


async def test_a_page_that_is_opened_later_has_its_plots_at_once(
    view: View, browser: Browser
) -> None:
    line = '[data-plot="connections"] path'
    long = re.compile(r"(L.*){3}")
    await expect(view.page.locator(line)).to_have_attribute("d", long, timeout=WAIT_MS)
    later = View(await browser.new_page(), view.home)
    await later.open()
    drawn = await later.page.locator(line).get_attribute("d")
    assert drawn is not None
    assert long.search(drawn)

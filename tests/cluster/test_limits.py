"""What holds for a user over all gateways together (W14, W15)."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from realtime_client import Client, CommandFailed, connect
from standalone.local_cluster import LocalCluster
from standalone.tokens import development_token
from tests.support.broker import Troubled
from tests.support.cluster import clients, make_cluster, url_of

pytestmark = pytest.mark.rabbitmq

RATE, CONNECTIONS = 40, 4


@pytest.fixture(scope="module")
def limited(rabbitmq: Troubled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Two gateways that limit what a user may do."""
    settings = {
        "REALTIME_MAX_USER_MESSAGES_PER_SECOND": str(RATE),
        "REALTIME_MAX_USER_CONNECTIONS": str(CONNECTIONS),
    }
    with make_cluster(rabbitmq.url, tmp_path_factory.mktemp("logs"), **settings) as running:
        yield running


async def ask_until(client: Client, end: float) -> list[float]:
    """Go on asking; return when it was granted."""
    granted = []
    while time.monotonic() < end:
        try:
            await client.set_presence("away")
            granted.append(time.monotonic())
        except CommandFailed as error:
            if error.code != 429:
                raise
            await asyncio.sleep(0.005)
    return granted


async def test_a_user_gets_its_rate_from_all_gateways_together_within_a_fifth(
    limited: LocalCluster,
) -> None:
    began = time.monotonic()
    warm, end = began + 6, began + 16
    async with clients(*((url_of(limited, one % 2), "greedy") for one in range(4))) as people:
        granted = await asyncio.gather(*(ask_until(one, end) for one in people))

    a_second = sum(at > warm for each in granted for at in each) / (end - warm)
    assert a_second == pytest.approx(RATE, rel=0.2)


async def test_a_user_has_so_many_connections_over_all_gateways_and_the_next_is_sent_away(
    limited: LocalCluster,
) -> None:
    async with AsyncExitStack() as stack:
        for number in range(CONNECTIONS):
            url = url_of(limited, number % 2)
            await stack.enter_async_context(await connect(url, development_token("crowd")))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        one_more = await session.ws_connect(
            f"{url_of(limited, 0)}?token={development_token('crowd')}"
        )
        began = time.monotonic()
        heard = [one.json() async for one in one_more if one.type is aiohttp.WSMsgType.TEXT]

        assert one_more.close_code == 4429
        assert heard[-1]["data"]["code"] == 429
        assert time.monotonic() - began < 30  # what is awaited is a close, not a time-out

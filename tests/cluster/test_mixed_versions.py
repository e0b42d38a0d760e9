"""Two adjacent releases in one cluster, and the way from one to the other (docs/upgrades.md)."""

import asyncio
import io
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from shared.broker.listening import listen
from shared.broker.rabbitmq import RabbitMQBroker
from shared.messages.news import Heartbeat, Lease, News
from shared.overview import Overview
from shared.release import RELEASE
from shared.settings import load
from tests.chaos.cast import Load
from tests.chaos.report import markdown
from tests.chaos.scenario import Outcome, Plan, run
from tests.chaos.world import Size
from tests.support.broker import Troubled, troubled

pytestmark = pytest.mark.rabbitmq

PREVIOUS = "a5635a4"
"""The release before this one: what runs in a cluster that is to be upgraded."""

PREVIOUS_TELLS = ""
"""What it says its release is: nothing, for it cannot say that yet."""

CHECKOUT = Path(__file__).parents[2]
SIZE = Size(gateways=2)
GATEWAYS = ("gateway-1", "gateway-2")
REPLICAS = ("router-1", "router-2", "presence-1", "presence-2")
PLAN = Plan(seed=3, seconds=10, faults=(), pause=(1, 2), size=SIZE)


@pytest.fixture
def previous(tmp_path: Path) -> Path:
    """The code of the release before, on its own."""
    asked = ["git", "archive", "--format=tar", PREVIOUS]
    found = subprocess.run(asked, cwd=CHECKOUT, capture_output=True, check=False)
    if found.returncode:
        pytest.fail(
            f"The release before this one, {PREVIOUS}, is not in this clone: "
            "get the whole history (git fetch --unshallow)"
        )
    code = tmp_path / "previous"
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(code, filter="data")
    return code


@pytest.fixture
def fresh(image: str | None) -> Iterator[Troubled]:
    """A RabbitMQ of the test's own: another run would know the idempotency keys of the last."""
    with troubled(image) as node:
        yield node


@dataclass
class Releases(Overview):
    """What each process has said that its release is, in order."""

    told: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def hear(self, news: News, now: float) -> None:
        """Write down a release that is not the last one."""
        super().hear(news, now)
        if isinstance(news, Lease | Heartbeat):
            node = news.sender.node_id if isinstance(news, Lease) else news.node_id
            if self.told[node][-1:] != [news.release]:
                self.told[node].append(news.release)


@asynccontextmanager
async def heard(rabbitmq: Troubled) -> AsyncIterator[Releases]:
    """Listen to all processes."""
    releases = Releases()
    listening = asyncio.create_task(listen(RabbitMQBroker(rabbitmq.url), releases))
    try:
        yield releases
        assert not listening.done(), listening
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def outcome_of(
    plan: Plan, older: Iterable[str], previous: Path, rabbitmq: Troubled, logs: Path
) -> tuple[Outcome, Releases]:
    """Run a cluster in which some processes are of the release before."""
    settings = {
        "REALTIME_JWT_SECRET": load(mode="development").jwt_secret,  # each checkout has its own
        "PYTHONDONTWRITEBYTECODE": "",  # so that one can see what was imported
    }
    plan = replace(plan, code=dict.fromkeys(older, previous), settings=settings)
    async with heard(rabbitmq) as releases:
        outcome = await run(plan, rabbitmq, logs, print)
    print(markdown(outcome))  # noqa: T201 - for whom it may concern
    return outcome, releases


def was_imported(code: Path, *packages: str) -> bool:
    """Whether these packages, and no others of the services, were imported from there."""
    services = {"gateway", "router", "presence_service"}
    found = {one for one in services if (code / one / "__pycache__").exists()}
    return found == set(packages) and (code / "shared" / "__pycache__").exists()


def all_was_delivered(outcome: Outcome) -> bool:
    """Whether much was acknowledged, across the gateways, and no promise was broken."""
    figures = outcome.verdict.figures
    assert outcome.good, (outcome.verdict, outcome.unready)
    return figures.received > figures.acked == figures.sent > 100


async def test_gateways_of_the_release_before_talk_to_routers_and_presence_of_this_one(
    previous: Path, fresh: Troubled, tmp_path: Path
) -> None:
    outcome, releases = await outcome_of(PLAN, GATEWAYS, previous, fresh, tmp_path)

    assert releases.told == {
        **{node: [PREVIOUS_TELLS] for node in GATEWAYS},
        **{node: [RELEASE] for node in REPLICAS},
    }
    assert was_imported(previous, "gateway")
    assert all_was_delivered(outcome)


async def test_gateways_of_this_release_talk_to_routers_and_presence_of_the_one_before(
    previous: Path, fresh: Troubled, tmp_path: Path
) -> None:
    outcome, releases = await outcome_of(PLAN, REPLICAS, previous, fresh, tmp_path)

    assert releases.told == {
        **{node: [RELEASE] for node in GATEWAYS},
        **{node: [PREVIOUS_TELLS] for node in REPLICAS},
    }
    assert was_imported(previous, "router", "presence_service")
    assert all_was_delivered(outcome)


async def test_nothing_acknowledged_is_lost_while_every_process_is_replaced_one_after_another(
    previous: Path, fresh: Troubled, tmp_path: Path
) -> None:
    plan = replace(PLAN, faults=("upgrade",), load=replace(Load(), visitors=0))

    outcome, releases = await outcome_of(plan, SIZE.nodes, previous, fresh, tmp_path)

    assert releases.told == {node: [PREVIOUS_TELLS, RELEASE] for node in SIZE.nodes}
    assert was_imported(previous, "gateway", "router", "presence_service")
    assert all_was_delivered(outcome)

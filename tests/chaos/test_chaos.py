"""Faults by a fixed seed, and a verdict; and a verdict that must be bad.

``python -m tests.chaos`` goes on for as long as one likes, with all the faults there are.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.cast import Load
from tests.chaos.report import markdown
from tests.chaos.scenario import Outcome, Plan, run
from tests.chaos.violations import Breach
from tests.chaos.world import Size
from tests.support.broker import Troubled, troubled
from tests.support.rabbitmq import can_run_privately

pytestmark = pytest.mark.rabbitmq

SEED = 20_251_107

PLAN = Plan(SEED, 0, ())

SMALL = replace(
    PLAN,
    seconds=10,
    quiet=1,
    drain=3,
    load=Load(publishers=2, listeners=2, plain=0, visitors=0, watchers=0, rate=20),
    size=Size(gateways=2, routers=1, presence=1),
)


@pytest.fixture
def rabbitmq(image: str | None) -> Iterator[Troubled]:
    """A node of its own for each run: what one leaves behind is no part of the next."""
    assert image or can_run_privately()
    with troubled(image) as node:
        yield node


async def outcome_of(plan: Plan, rabbitmq: Troubled, logs: Path) -> Outcome:
    outcome = await run(plan, rabbitmq, logs, print)
    print(outcome.verdict, markdown(outcome), sep="\n\n")  # noqa: T201 - for whom it may concern
    return outcome


@pytest.mark.parametrize(
    ("seconds", "faults"),
    [
        (
            45,
            ("kill gateway", "kill router", "kill presence", "restart gateway", "restart router"),
        ),
        (15, ("kill rabbitmq",)),
    ],
    ids=["services", "rabbitmq"],
)
async def test_nothing_is_lost_doubled_or_reordered_while_one_fault_follows_another(
    rabbitmq: Troubled, tmp_path: Path, seconds: float, faults: tuple[str, ...]
) -> None:
    plan = replace(PLAN, seconds=seconds, faults=faults)
    outcome = await outcome_of(plan, rabbitmq, tmp_path)
    assert outcome.verdict.figures.recoveries
    assert outcome.good, outcome.verdict


@pytest.mark.parametrize("breach", [Breach.LOST, Breach.DOUBLED, Breach.REORDERED])
async def test_a_promise_that_is_broken_on_purpose_is_seen(
    rabbitmq: Troubled, tmp_path: Path, breach: Breach
) -> None:
    outcome = await outcome_of(replace(SMALL, sabotage=breach.value), rabbitmq, tmp_path)
    assert breach in outcome.verdict.kinds, outcome.verdict  # a hole shows in the offsets, too
    assert not outcome.good


async def test_without_a_fault_there_is_nothing_to_complain_of(
    rabbitmq: Troubled, tmp_path: Path
) -> None:
    outcome = await outcome_of(SMALL, rabbitmq, tmp_path)
    assert outcome.good, outcome.verdict

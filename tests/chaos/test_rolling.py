"""A rolling update of all gateways under load."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.cast import Load
from tests.chaos.history import Closed, PresenceSeen
from tests.chaos.report import markdown
from tests.chaos.scenario import Plan, run
from tests.support.broker import troubled
from tests.support.rabbitmq import can_run_privately

pytestmark = pytest.mark.rabbitmq

PLAN = Plan(
    seed=7, seconds=20, faults=("roll gateways",), pause=(1, 2), load=replace(Load(), visitors=0)
)


async def test_nothing_acknowledged_is_lost_and_nobody_seems_offline_while_gateways_are_replaced(
    image: str | None, tmp_path: Path
) -> None:
    assert image or can_run_privately()
    with troubled(image) as rabbitmq:
        outcome = await run(PLAN, rabbitmq, tmp_path, print)
    print(markdown(outcome))  # noqa: T201 - for whom it may concern
    events = outcome.history.events
    assert {one.code for one in events if isinstance(one, Closed) and not one.wanted} == {1012}
    offline = [one for one in events if isinstance(one, PresenceSeen) and one.status == "offline"]
    assert not offline
    assert outcome.good, outcome.verdict

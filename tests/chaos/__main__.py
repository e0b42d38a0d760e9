"""``python -m tests.chaos``: faults by chance for some minutes, and a verdict."""

import argparse
import asyncio
import random
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from tests.chaos.broker_cluster import NODES, PrivateBrokerCluster
from tests.chaos.cast import Load
from tests.chaos.clients import Habits
from tests.chaos.faults import ALL, PARTITIONS, usual
from tests.chaos.reading import Limits
from tests.chaos.report import json_lines, markdown
from tests.chaos.scenario import Plan, run
from tests.support.broker import Troubled, troubled

SHOWN = 40

SLOWER = 4.0
"""Each publisher's commands a second with several nodes of RabbitMQ: each of them keeps whatever is
sent, and here they share the processors."""


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - what the person at the terminal waits for


def _plan() -> tuple[Plan, argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))  # noqa: S311
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--fault", action="append", choices=[*ALL, "none"])
    parser.add_argument(
        "--nodes", type=int, default=1, choices=[1, NODES], help="how many of RabbitMQ; default: 1"
    )
    parser.add_argument("--without", action="append", default=[], choices=["acks", "recover"])
    parser.add_argument("--sabotage", default="", choices=["lost", "doubled", "reordered"])
    parser.add_argument("--out", type=Path, help="append a JSON line for each fault to this file")
    parser.add_argument(
        "--image", default="", help="RabbitMQ in a container of this image, by Docker"
    )
    parser.add_argument("--logs", type=Path, help="keep the logs of the processes here")
    asked = parser.parse_args()
    faults = tuple(name for name in asked.fault or usual(asked.nodes) if name != "none")
    if asked.nodes == 1 and not PARTITIONS.keys().isdisjoint(faults):
        parser.error(f"partitions need --nodes {NODES}")
    if asked.nodes > 1 and asked.image:
        parser.error("--image is for one node")
    plan = Plan(
        asked.seed,
        60 * asked.minutes,
        faults,
        asked.nodes,
        load=Load() if asked.nodes == 1 else Load(rate=SLOWER),
        habits=Habits(acks="acks" not in asked.without, recover="recover" not in asked.without),
        limits=Limits(history="recover" not in asked.without),
        sabotage=asked.sabotage,
        image=asked.image,
    )
    return plan, asked


def _rabbitmq(plan: Plan) -> AbstractContextManager[Troubled | PrivateBrokerCluster]:
    return PrivateBrokerCluster() if plan.brokers > 1 else troubled(plan.image)


def main() -> None:
    """Carry out what was asked for; exit with 1 if a promise was broken."""
    plan, asked = _plan()
    with tempfile.TemporaryDirectory() as temporary, _rabbitmq(plan) as rabbitmq:
        logs = asked.logs or Path(temporary)
        logs.mkdir(parents=True, exist_ok=True)
        outcome = asyncio.run(run(plan, rabbitmq, logs, _say))
        for violation in outcome.verdict.violations[:SHOWN]:
            _say(str(violation))
        if (more := len(outcome.verdict.violations) - SHOWN) > 0:
            _say(f"and {more} more")
        _say(f"\n{markdown(outcome)}")
    if asked.out is not None:
        with asked.out.open("a") as written:
            written.write(json_lines(outcome) + "\n")
    sys.exit(0 if outcome.good else 1)


if __name__ == "__main__":
    main()

"""The steps of messages that a process remembers: shared/trail.py."""

from collections.abc import Callable
from itertools import count

import pytest

from shared.broker.batching import Packer
from shared.messages.answers import StepTold, TrailTold
from shared.messages.news import TrailAsked
from shared.telling import tell
from shared.trail import REMEMBERED_STEPS, TOLD_STEPS, Details, Trail
from standalone.table import trail_table


def ticking(step_ns: int = 10) -> Callable[[], int]:
    return count(1_000, step_ns).__next__


class FakeSpan:
    """A span that notes its end."""

    def __init__(self, trace: str) -> None:
        self.trace = trace
        self.ended: tuple[int, Details] | None = None

    def end(self, at_ns: int, details: Details) -> None:
        assert self.ended is None
        self.ended = (at_ns, details)


class FakeTracer:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.spans: list[FakeSpan] = []

    def _span(self, *asked: object) -> FakeSpan:
        self.asked.append(asked)
        self.spans.append(span := FakeSpan(f"trace-{len(self.spans)}"))
        return span

    def originate(self, step: str, message_id: str, at_ns: int, metadata: bytes) -> FakeSpan:
        return self._span("originate", step, message_id, at_ns, metadata)

    def resume(self, step: str, message_id: str, at_ns: int, trace: str) -> FakeSpan:
        return self._span("resume", step, message_id, at_ns, trace)


def test_the_steps_of_a_message_are_told_with_their_times_and_details():
    trail = Trail("gateway", "n1", ticking())
    command = trail.originate("command", "m", b"")
    trail.begin("deliver", "m", "").end(written=3)
    command.end(outcome="delivered")

    assert trail.told("m") == TrailTold(
        "m",
        "gateway",
        "n1",
        [
            StepTold("command", 1_000, 30, {"outcome": "delivered"}),
            StepTold("deliver", 1_010, 10, {"written": 3}),
        ],
    )


def test_of_a_message_that_never_came_nothing_is_told():
    assert Trail("router", "r1", ticking()).told("m") == TrailTold("m", "router", "r1", [])


def test_a_step_that_lasts_is_told_without_its_end():
    trail = Trail("gateway", "n1", ticking())
    trail.begin("deliver", "m", "")

    assert [step.took_ns for step in trail.told("m").steps] == [None]


def test_only_the_first_end_counts():
    trail = Trail("gateway", "n1", ticking())
    with trail.begin("deliver", "m", "") as step:
        step.end(written=1)
        step.end(written=2)

    assert [(one.took_ns, one.details) for one in trail.told("m").steps] == [(10, {"written": 1})]


def test_a_step_that_fails_says_how():
    trail = Trail("gateway", "n1", ticking())
    with pytest.raises(TimeoutError), trail.originate("command", "m", b""):
        raise TimeoutError

    assert [one.details for one in trail.told("m").steps] == [{"failed": "TimeoutError"}]


def test_the_oldest_steps_are_forgotten():
    trail = Trail("gateway", "n1", ticking())
    for number in range(REMEMBERED_STEPS + 1):
        trail.begin("deliver", f"m{number}", "")

    assert trail.steps("m0") == []
    assert len(trail.steps("m1")) == len(trail.steps(f"m{REMEMBERED_STEPS}")) == 1


def test_each_step_is_a_span_where_tracing_is_on():
    tracer = FakeTracer()
    trail = Trail("gateway", "n1", ticking(), tracer)
    command = trail.originate("command", "m", b'"a":1')
    deliver = trail.begin("deliver", "m", command.trace)
    deliver.end(written=1)

    assert tracer.asked == [
        ("originate", "command", "m", 1_000, b'"a":1'),
        ("resume", "deliver", "m", 1_010, "trace-0"),
    ]
    assert [one.ended for one in tracer.spans] == [None, (1_020, {"written": 1})]


def test_what_comes_without_a_trace_begins_none():
    tracer = FakeTracer()
    step = Trail("router", "r1", ticking(), tracer).begin("route", "m", "")

    assert tracer.asked == []
    assert step.trace == ""


@pytest.mark.parametrize(
    ("queue", "told"), [("news.trace", True), ("router.commands.0", False), ("", False)]
)
def test_only_queues_of_news_are_told(queue: str, told: bool):
    told_to: dict[str, list[bytes]] = {}
    answers = Packer(lambda _: None)
    answers.add = lambda to, envelope: told_to.setdefault(to, []).append(envelope)  # type: ignore[method-assign]
    tell(TrailAsked("m", queue), Trail("router", "r1", ticking()), answers)

    assert list(told_to) == [queue] * told


def test_of_a_message_with_very_many_steps_the_first_are_told():
    trail = Trail("gateway", "n1", ticking())
    for _ in range(TOLD_STEPS + 1):
        trail.begin("deliver", "m", "")

    assert len(trail.told("m").steps) == TOLD_STEPS
    assert trail.told("m").steps[0].began_ns == 1_000


def test_the_table_is_in_the_order_of_time_whoever_tells():
    gateway, router = Trail("gateway", "n1", ticking()), Trail("router", "r1", ticking(400_000))
    gateway.originate("command", "m", b"")
    router.begin("route", "m", "")
    router.begin("route", "m", "").end(partition=3, term=1)

    assert trail_table([router.told("m"), gateway.told("m")]).splitlines() == [
        "AFTER    TOOK     STEP     SERVICE  NODE  DETAILS",
        "0.00 ms  ...      route    router   r1",
        "0.00 ms  ...      command  gateway  n1",
        "0.40 ms  0.40 ms  route    router   r1    partition 3, term 1",
    ]

"""PURE: what became of the messages that came through this process lately, step by step.

A step is remembered here, and is a span where tracing is on.
"""

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TypeAlias

from shared.messages.answers import StepTold, TrailTold

REMEMBERED_STEPS = 30_000
"""Of all messages together; some 12 MB."""

TOLD_STEPS = 100
"""Of one message, by one process."""

Details: TypeAlias = dict[str, str | int]
"""What there is to say of a step. No payload, no topic and no user: it may leave the cluster."""


class Span(Protocol):
    """A step as a tracing system knows it."""

    @property
    def trace(self) -> str:
        """What others continue it by, as ``traceparent`` (W3C Trace Context); empty for nobody."""

    def end(self, at_ns: int, details: Details) -> None:
        """Be over."""


class Tracer(Protocol):
    """A tracing system; times are Unix time in nanoseconds."""

    def originate(self, step: str, message_id: str, at_ns: int, metadata: bytes) -> Span:
        """Begin a trace; linked to the client's own if its metadata names one."""

    def resume(self, step: str, message_id: str, at_ns: int, trace: str) -> Span:
        """Begin the next span of a trace."""


class Step:
    """Something that is done with a message; as a context manager it ends with it."""

    __slots__ = ("_clock", "_span", "began_ns", "details", "ended_ns", "message_id", "name")

    def __init__(self, name: str, message_id: str, clock: Callable[[], int]) -> None:
        self.name = name
        self.message_id = message_id
        self.began_ns = clock()
        self.ended_ns: int | None = None
        self.details: Details = {}
        self._clock = clock
        self._span: Span | None = None

    @property
    def trace(self) -> str:
        """What others continue the trace by; empty if there is none."""
        return self._span.trace if self._span is not None else ""

    def follow(self, span: Span) -> None:
        """Have a span that ends with this step."""
        self._span = span

    def end(self, **details: str | int) -> None:
        """Be over, and say how; only the first time counts."""
        if self.ended_ns is not None:
            return
        self.details, self.ended_ns = details, self._clock()
        if self._span is not None:
            self._span.end(self.ended_ns, details)
            self._span = None  # it is large, and the step is remembered for long

    def __enter__(self) -> "Step":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.end(failed=kind.__name__)
        else:
            self.end()


class Trail:
    """The last steps of one process; ``clock`` tells Unix time in nanoseconds."""

    def __init__(
        self, service: str, node_id: str, clock: Callable[[], int], tracer: Tracer | None = None
    ) -> None:
        self._service = service
        self._node_id = node_id
        self._clock = clock
        self._tracer = tracer
        self._steps: deque[Step] = deque(maxlen=REMEMBERED_STEPS)

    def originate(self, name: str, message_id: str, metadata: bytes) -> Step:
        """Begin the first step of a message, whose metadata are JSON members."""
        step = self._note(name, message_id)
        if self._tracer is not None:
            step.follow(self._tracer.originate(name, message_id, step.began_ns, metadata))
        return step

    def begin(self, name: str, message_id: str, trace: str) -> Step:
        """Begin a further step of a message; ``trace`` is what came with it."""
        step = self._note(name, message_id)
        if self._tracer is not None and trace:
            step.follow(self._tracer.resume(name, message_id, step.began_ns, trace))
        return step

    def _note(self, name: str, message_id: str) -> Step:
        self._steps.append(step := Step(name, message_id, self._clock))
        return step

    def steps(self, message_id: str) -> list[Step]:
        """Return the steps of a message, as far as they are remembered."""
        return [step for step in self._steps if step.message_id == message_id]

    def told(self, message_id: str) -> TrailTold:
        """Return what is known of a message, for whoever asks."""
        return TrailTold(
            message_id,
            self._service,
            self._node_id,
            [
                StepTold(
                    step.name,
                    step.began_ns,
                    None if step.ended_ns is None else step.ended_ns - step.began_ns,
                    step.details,
                )
                for step in self.steps(message_id)[:TOLD_STEPS]
            ],
        )

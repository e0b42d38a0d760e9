"""Spans for OpenTelemetry, if ``REALTIME_TRACING`` asks for them. One file imports opentelemetry.

Where they go and how many are kept is said by OpenTelemetry's own ``OTEL_*`` variables.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import structlog

from shared.release import RELEASE
from shared.settings import Settings, WrongSettings
from shared.trail import Details, Tracer

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan

log = structlog.get_logger()

FLUSH_SECONDS = 5.0
"""For the last spans to leave, when the process ends."""


@contextmanager
def tracing(settings: Settings, service: str) -> Iterator[Tracer | None]:
    """Yield what makes spans, if there are to be any; send the last ones at the end.

    Raises:
        WrongSettings: the extra is not installed.
    """
    if not settings.tracing:
        yield None
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise WrongSettings(
            "REALTIME_TRACING: needs OpenTelemetry; install realtime-service[otel]"
        ) from error
    tracer = OpenTelemetry(service, settings.node_id)
    tracer.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield tracer
    finally:
        _flush(tracer.provider)


def _flush(provider: TracerProvider) -> None:
    """Send what has gathered, but do not let a collector that is not there hold up the end."""
    flushing = threading.Thread(target=provider.shutdown, daemon=True)
    flushing.start()
    flushing.join(FLUSH_SECONDS)
    if flushing.is_alive():
        log.warning("spans lost", action="flush")


class Traced(msgspec.Struct):
    """What is read of a message's metadata."""

    traceparent: str = ""


class OpenTelemetry:
    """Makes spans; see ``Tracer``."""

    def __init__(self, service: str, node_id: str) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - an extra
        from opentelemetry.context import Context  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
        from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415 - an extra

        resource = {
            "service.namespace": "realtime",
            "service.name": service,
            "service.instance.id": node_id,
            "service.version": RELEASE,
        }
        self.provider = TracerProvider(resource=Resource.create(resource), shutdown_on_exit=False)
        self._trace, self._nothing = trace, Context()
        self._tracer = self.provider.get_tracer("realtime", RELEASE)
        self._propagator = tracecontext.TraceContextTextMapPropagator()

    def originate(self, step: str, message_id: str, at_ns: int, metadata: bytes) -> Span:
        """See ``Tracer``. A ``traceparent`` that is no such thing counts for nothing.

        A client's is a link and no parent: else clients would decide which traces are kept.
        """
        try:
            trace = msgspec.json.decode(b"{%b}" % metadata, type=Traced).traceparent
        except msgspec.DecodeError:
            trace = ""
        return self._span(step, message_id, at_ns, link=trace)

    def resume(self, step: str, message_id: str, at_ns: int, trace: str) -> Span:
        """See ``Tracer``."""
        return self._span(step, message_id, at_ns, trace)

    def _span(
        self, step: str, message_id: str, at_ns: int, trace: str = "", link: str = ""
    ) -> Span:
        linked = self._trace.get_current_span(self._read(link)).get_span_context()
        span = self._tracer.start_span(
            step,
            context=self._read(trace),
            attributes={"messaging.message.id": message_id},
            links=[self._trace.Link(linked)] if linked.is_valid else [],
            start_time=at_ns,
        )
        return Span(span)

    def _read(self, trace: str) -> Context:
        return self._propagator.extract({"traceparent": trace}, self._nothing)


class Span:
    """A span of OpenTelemetry; see ``shared.trail.Span``."""

    __slots__ = ("_span",)

    def __init__(self, span: OtelSpan) -> None:
        self._span = span

    @property
    def trace(self) -> str:
        """See ``shared.trail.Span``; empty if it is not kept: nobody need continue that."""
        if not self._span.is_recording():
            return ""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def end(self, at_ns: int, details: Details) -> None:
        """Be over, with these attributes."""
        for name, value in details.items():
            self._span.set_attribute(f"realtime.{name}", value)
        self._span.end(end_time=at_ns)

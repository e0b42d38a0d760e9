"""One trace from a client's command to the last delivery, as OpenTelemetry gets it."""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway import answers
from shared.process import tracing as module
from shared.process.tracing import OpenTelemetry, tracing
from shared.settings import WrongSettings, load
from shared.trail import Trail
from tests.component.conftest import Start
from tests.component.staging import Stall, acknowledging, metadata
from tests.support.api import BackEnd
from tests.support.embedded import Place, token, until

TRACE = "0af7651916cd43dd8448eb211c80319c"  # pragma: allowlist secret
SPAN = "b7ad6b7169203331"  # pragma: allowlist secret


class Traces:
    """A service that makes spans, and the spans."""

    def __init__(self, place: Place, exporter: InMemorySpanExporter) -> None:
        self.place = place
        self._exporter = exporter

    def finished(self) -> list[ReadableSpan]:
        """Return all spans that are over."""
        return list(self._exporter.get_finished_spans())

    def of(self, message_id: str) -> list[ReadableSpan]:
        """Return the spans of a message that are over, in the order of their beginnings."""
        spans = [
            one
            for one in self.finished()
            if (one.attributes or {}).get("messaging.message.id") == message_id
        ]
        return sorted(spans, key=lambda one: one.start_time or 0)

    async def complete(self, message_id: str, *steps: str) -> list[ReadableSpan]:
        """Wait until these steps of a message are over; return its spans."""
        await until(lambda: sorted(names(self.of(message_id))) == sorted(steps), f"{steps}")
        return self.of(message_id)


def names(spans: list[ReadableSpan]) -> list[str]:
    return [one.name for one in spans]


def details(span: ReadableSpan) -> dict[str, Any]:
    """Return what a span tells of the service."""
    told = span.attributes or {}
    prefix = "realtime."
    return {name.removeprefix(prefix): told[name] for name in told if name.startswith(prefix)}


def by_name(spans: list[ReadableSpan]) -> dict[str, ReadableSpan]:
    return {one.name: one for one in spans}


def trace_of(spans: list[ReadableSpan]) -> str:
    """Return the one trace of spans, of which all but the first follow from that."""
    first, *others = spans
    assert first.context is not None
    for one in others:
        assert one.parent is not None
        assert one.parent.span_id == first.context.span_id
        assert one.context is not None
        assert one.context.trace_id == first.context.trace_id
    return f"{first.context.trace_id:032x}"


@pytest.fixture
def tracer() -> Iterator[tuple[OpenTelemetry, InMemorySpanExporter]]:
    tracer, exporter = OpenTelemetry("realtime", "n1"), InMemorySpanExporter()
    tracer.provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield tracer, exporter
    tracer.provider.shutdown()


@pytest.fixture
async def traces(start: Start, tracer: tuple[OpenTelemetry, InMemorySpanExporter]) -> Traces:
    return Traces(await start(tracer=tracer[0]), tracer[1])


async def test_a_broadcast_is_one_trace_from_the_command_to_the_delivery(traces: Traces) -> None:
    alice, bob = await traces.place.people("alice", "bob")
    await bob.subscribe("chat.a")
    ack = await alice.broadcast("chat.a", 1)
    spans = await traces.complete(ack["server_message_id"], "command", "send", "route", "deliver")

    trace_of(spans)
    assert names(spans) == ["command", "send", "route", "deliver"]
    found = by_name(spans)
    assert found["command"].parent is None
    assert details(found["command"]) == {"outcome": "delivered", "recipients": 1}
    assert details(found["route"]).keys() == {"nodes", "offset", "partition", "term"}
    assert details(found["deliver"]) == {"written": 1}


async def test_a_direct_message_is_one_trace(traces: Traces) -> None:
    alice, bob = await traces.place.people("alice", "bob")
    [ack] = await alice.direct("bob", 1)
    spans = await traces.complete(
        ack["data"]["server_message_id"], "command", "send", "locate", "deliver"
    )

    trace_of(spans)
    assert details(by_name(spans)["command"]) == {"outcome": "delivered", "recipients": 1}
    assert (await bob.hear())["data"]["payload"] == 1


async def test_what_waited_in_a_mailbox_is_delivered_in_the_trace_of_its_command(
    traces: Traces,
) -> None:
    alice = await traces.place.connect("alice")
    *_, ack = await alice.direct("bob", 1)
    message_id = ack["data"]["server_message_id"]
    spans = await traces.complete(message_id, "command", "send", "keep")
    assert details(by_name(spans)["keep"])["queued"] == 1
    await traces.place.connect("bob")
    spans = await traces.complete(message_id, "command", "send", "keep", "locate", "deliver")

    trace_of(spans)


async def test_what_a_client_has_yet_to_confirm_is_delivered_when_it_has(traces: Traces) -> None:
    alice = await traces.place.connect("alice")
    bob = await acknowledging(traces.place, "bob")
    await alice.say("DirectMessage", {"target_user": "bob", "payload": 1}, id="d1")
    message_id = metadata(await bob.hear())["message_id"]
    await traces.complete(message_id, "send", "locate")
    await bob.say("Ack", {"message_ids": [message_id]})
    spans = await traces.complete(message_id, "command", "send", "locate", "deliver")

    assert details(by_name(spans)["deliver"]) == {"written": 1}


async def test_messages_of_back_ends_are_traced_too(traces: Traces) -> None:
    bob = await traces.place.connect("bob")
    await bob.subscribe("chat.a")
    ops = BackEnd(traces.place.client, token("ops", roles=["admin"]))
    answer = await ops.post("/broadcasts", {"topic": "chat.a", "payload": 1})

    trace_of(await traces.complete(answer["message_id"], "command", "send", "route", "deliver"))


async def test_a_client_may_link_a_trace_of_its_own_but_not_decide_for_ours(
    traces: Traces,
) -> None:
    alice = await traces.place.connect("alice")
    mine = {"traceparent": f"00-{TRACE}-{SPAN}-00"}
    ack = await alice.broadcast("chat.a", 1, metadata=mine)
    spans = await traces.complete(ack["server_message_id"], "command", "send", "route")

    assert trace_of(spans) != TRACE
    assert spans[0].parent is None
    [link] = spans[0].links
    assert f"{link.context.trace_id:032x}-{link.context.span_id:016x}" == f"{TRACE}-{SPAN}"


@pytest.mark.parametrize(
    "traceparent", ["", "nonsense", f"00-{'0' * 32}-{SPAN}-01", 7, None, {"a": 1}, "x" * 5_000]
)
async def test_what_is_no_traceparent_counts_for_nothing(
    traces: Traces, traceparent: object
) -> None:
    alice = await traces.place.connect("alice")
    ack = await alice.broadcast("chat.a", 1, metadata={"traceparent": traceparent})
    spans = await traces.complete(ack["server_message_id"], "command", "send", "route")

    assert spans[0].parent is None
    assert not spans[0].links


async def test_a_trace_that_is_not_kept_is_continued_by_nobody(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    tracer, exporter = OpenTelemetry("realtime", "n1"), InMemorySpanExporter()
    tracer.provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces = Traces(await start(tracer=tracer), exporter)
    alice, bob = await traces.place.people("alice", "bob")
    await bob.subscribe("chat.a")
    ack = await alice.broadcast("chat.a", 1)
    steps = [one.name for one in traces.place.server.trail.steps(ack["server_message_id"])]

    assert sorted(steps) == ["command", "deliver", "route", "send"]
    assert traces.finished() == []


async def test_a_repeat_that_waits_for_its_outcome_is_no_further_step(traces: Traces) -> None:
    alice = await traces.place.connect("alice")
    with Stall("router.commands"):
        for _ in range(5):
            await alice.say("Broadcast", {"topic": "chat.a", "payload": 1}, id="b1")
        await alice.ask("Ping", {})
    await until(lambda: len(traces.finished()) >= 3, "the outcome")

    assert sorted(names(traces.finished())) == ["command", "route", "send"]


async def test_a_command_that_is_not_taken_ends_its_span(
    traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await traces.place.connect("alice")
    for link in traces.place.server.node.uplink._router:
        monkeypatch.setattr(link, "_limit", 0)
    error = await alice.refused("Broadcast", {"topic": "chat.a", "payload": 1})
    assert error["code"] == 503
    [span] = traces.finished()
    assert (span.name, details(span)) == ("command", {"outcome": "refused"})


async def test_a_command_without_an_answer_ends_its_span_with_what_failed(
    traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "ANSWER_SECONDS", 0.05)
    alice = await traces.place.connect("alice")
    traces.place.server.node.answers.take = lambda _: None  # type: ignore[method-assign] # hears none
    error = await alice.refused("Broadcast", {"topic": "chat.a", "payload": 1})
    assert error["details"]["outcome"] == "unknown"
    command = by_name(traces.finished())["command"]
    assert details(command) == {"failed": "OutcomeUnknown"}


# ---- whether there is tracing at all -------------------------------------------------------------


def test_nothing_is_traced_unless_asked_for() -> None:
    with tracing(load({}, mode="development"), "router") as tracer:
        assert tracer is None


def test_without_the_extra_the_settings_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    settings = load({}, mode="development", tracing=True)
    with pytest.raises(WrongSettings, match=r"realtime-service\[otel\]"), tracing(settings, "r"):
        pass


def test_a_collector_that_does_not_answer_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.05)
    before = set(threading.enumerate())
    with tracing(load({}, mode="development", tracing=True), "router") as tracer:
        Trail("router", "r1", time.time_ns, tracer).originate("command", "m", b"").end()
    flushing = set(threading.enumerate()) - before
    assert flushing  # it was not waited for
    for thread in flushing:
        thread.join(30)
        assert not thread.is_alive()
    silent.close()

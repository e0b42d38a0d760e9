"""A collector of OpenTelemetry's that keeps what it is sent, over HTTP on loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from gzip import decompress

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Kept:
    """A span, and who has sent it."""

    name: str
    node: str
    message_id: str
    trace: bytes
    span: bytes
    parent: bytes


class Collector:
    """Spans in the order in which they came."""

    def __init__(self) -> None:
        self.spans: list[Kept] = []
        self._news = asyncio.Condition()

    async def take(self, request: web.Request) -> web.Response:
        """Take in what a process exports."""
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = decompress(body)
        async with self._news:
            self.spans += _spans(ExportTraceServiceRequest.FromString(body))
            self._news.notify_all()
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")

    async def until(self, holds: Callable[[], bool], seconds: float = 30) -> None:
        """Wait until something holds of the spans."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(holds)


def _spans(request: ExportTraceServiceRequest) -> list[Kept]:
    found = []
    for resource in request.resource_spans:
        who = {one.key: one.value.string_value for one in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                told = {one.key: one.value.string_value for one in span.attributes}
                found.append(
                    Kept(
                        span.name,
                        f"{who['service.name']} {who['service.instance.id']}",
                        told["messaging.message.id"],
                        span.trace_id,
                        span.span_id,
                        span.parent_span_id,
                    )
                )
    return found


@asynccontextmanager
async def collecting(port: int) -> AsyncIterator[Collector]:
    """Listen on a port."""
    collector = Collector()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield collector
    finally:
        await runner.cleanup()

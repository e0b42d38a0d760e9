"""What is told of an address at which no RabbitMQ is: standalone/examine.py."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from shared.broker import rabbitmq
from shared.errors import BrokerUnavailable
from standalone.examine import examine
from tests.support.cluster import free_ports


@asynccontextmanager
async def server(answer: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[int]:
    """Answer every connection; yield the port."""
    writers = []

    def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        answer(writer)

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        for writer in writers:
            writer.close()
        listening.close()


def speaks_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


async def reason(url: str) -> str:
    with pytest.raises(BrokerUnavailable) as caught:
        await examine(url)
    assert "pa55word" not in caught.value.message
    return caught.value.message


async def test_where_nothing_listens_that_is_said() -> None:
    [port] = free_ports(1)

    url = f"amqp://bob:pa55word@127.0.0.1:{port}/"

    assert await reason(url) == f"nothing listens at 127.0.0.1:{port}"


async def test_a_host_that_is_not_there_is_named() -> None:
    assert (
        await reason("amqp://bob:pa55word@nowhere.invalid/") == "there is no host nowhere.invalid"
    )


async def test_who_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "CONNECT_TIMEOUT", 0.2)
    async with server(lambda _: None) as port:
        told = await reason(f"amqp://bob:pa55word@127.0.0.1:{port}/")

    assert told == f"127.0.0.1:{port} does not answer in time"


async def test_something_else_than_rabbitmq_is_told_apart() -> None:
    async with server(speaks_http) as port:
        told = await reason(f"amqp://bob:pa55word@127.0.0.1:{port}/")

    assert told.startswith(f"127.0.0.1:{port} does not answer as RabbitMQ does")


async def test_a_port_without_tls_is_told_from_one_with_it() -> None:
    async with server(speaks_http) as port:
        told = await reason(f"amqps://bob:pa55word@127.0.0.1:{port}/")

    assert told.startswith(f"127.0.0.1:{port} and we cannot agree on TLS")


@pytest.mark.parametrize("url", ["http://rabbitmq/", "rabbitmq:5672", ""])
async def test_another_kind_of_url_is_refused(url: str) -> None:
    assert await reason(url) == "must begin with amqp:// or amqps://"


@pytest.mark.parametrize("url", ["amqp://bob:pa55word#@rabbitmq/", "amqp://[pa55word@rabbitmq/"])
async def test_a_url_that_cannot_be_read_is_not_repeated(url: str) -> None:
    assert "percent-encode" in await reason(url)

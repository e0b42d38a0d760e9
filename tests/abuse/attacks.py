"""What hostile clients do, one attack after the other: ``python -m tests.abuse.attacks PORT``.

A process of its own, and a patient one: it must not take the time of those whom it disturbs. Each
attack is a line of JSON when it begins, and one with what came of it when it ends.
"""

import asyncio
import json
import os
import sys
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import jwt

from standalone.tokens import development_token
from tests.abuse.wire import CONTINUATION, PING, TEXT, Socket, client, connect, frame, request, text

Outcome = dict[str, Any]
Attack = Callable[[int], Awaitable[Outcome]]
ATTACKS: list[Attack] = []
_addresses = (f"127.0.{2 + number // 250}.{1 + number % 250}" for number in count())
LOUD, LOUD_BYTES = "abuse.loud", 16_000
REST_SECONDS = 1.0
"""After each attack, so that what it leaves to do is not taken for the next one's."""

CALM_SECONDS = 2.5
"""Between two attacks: what this is compared with has the same machine at the same time."""

PINGS = frame(PING, b"?") * 100


def attack(one: Attack) -> Attack:
    """Put an attack on the list."""
    ATTACKS.append(one)
    return one


async def enter(port: int, user: str = "mallory", **how: Any) -> Socket:
    """Come in from an address that nobody else has."""
    return await client(port, next(_addresses), development_token(user), **how)


async def each(work: list[Awaitable[Any]]) -> Outcome:
    """Return what came of each, by how often."""
    return dict(Counter(str(one) for one in await asyncio.gather(*work)))


# ---- before the upgrade --------------------------------------------------------------------------


async def status_of(port: int, address: str, data: bytes) -> int:
    """Return what a request is answered."""
    opened = await connect(port, address)
    try:
        await opened.send(data)
        return await opened.status()
    finally:
        opened.drop()


@attack
async def bad_tokens(port: int) -> Outcome:
    """No signature, another secret, no expiry, nonsense."""
    body = {"sub": "root", "exp": time.time() + 60}
    secret = "a secret that is long enough and that nobody believes"
    tokens = [
        jwt.encode(body, None, algorithm="none"),
        jwt.encode(body, secret, algorithm="HS256"),
        jwt.encode({"sub": "root"}, secret, algorithm="HS256"),
        "nonsense",
        "",
    ]
    return await each(
        [status_of(port, next(_addresses), request(token)) for token in tokens for _ in range(20)]
    )


@attack
async def requests_that_are_none(port: int) -> Outcome:
    """Headers beyond all measure, another method, two tokens, no HTTP."""
    token = development_token("mallory")
    huge = request(token, f"X-Filler: {'x' * 70_000}")
    post = request(token).replace(b"GET", b"POST", 1)
    two = request(f"{token}&token=another")
    said = (huge, post, two, b"\x16\x03\x01\x00\xa5" * 50 + b"\r\n\r\n")
    return await each([status_of(port, next(_addresses), one) for one in said for _ in range(10)])


@attack
async def a_storm_of_handshakes(port: int) -> Outcome:
    """As many as one address can ask for."""
    address = next(_addresses)
    outcome: Counter[str] = Counter()
    for _ in range(20):
        data = request(development_token("mallory"))
        outcome.update(await each([status_of(port, address, data) for _ in range(25)]))
    return dict(outcome)


@attack
async def sockets_that_say_nothing(port: int) -> Outcome:
    """More than an address may have, some of which send a header byte by byte."""
    address = next(_addresses)
    opened = [await connect(port, address) for _ in range(300)]
    for number, one in enumerate(opened):
        one.writer.write(b"GET /ws HTTP/1.1\r\nX-Slow: " if number % 2 else b"")
    for _ in range(8):
        for one in opened[1:200:2]:
            one.writer.write(b"x")
        await asyncio.sleep(0.5)
    answers = await asyncio.gather(*(one.status() for one in opened))
    for one in opened:
        one.drop()
    return dict(Counter(map(str, answers)))


# ---- after the Welcome ---------------------------------------------------------------------------


async def flood(port: int, data: bytes, a_second: float) -> Outcome:
    """Send so often a second until the server has had enough; return the code and the errors."""
    mallory = await enter(port)
    closing = asyncio.create_task(mallory.closed())
    began = time.monotonic()
    for number in count():
        if closing.done():
            break
        try:
            await mallory.send(data)
        except ConnectionError:
            break
        await asyncio.sleep(max(0.0, began + number / a_second - time.monotonic()))
    code, errors = await closing
    mallory.drop()
    seconds = time.monotonic() - began
    return {"code": code, "errors": dict(Counter(map(str, errors))), "seconds": round(seconds, 1)}


@attack
async def a_flood_of_messages(port: int) -> Outcome:
    """Ten thousand messages a second."""
    message = text({"type": "Broadcast", "data": {"topic": "abuse.flood", "payload": 1}, "id": "1"})
    return await flood(port, message * 50, 200)


@attack
async def a_flood_of_pings(port: int) -> Outcome:
    """Ten thousand WebSocket pings a second."""
    return await flood(port, PINGS, 100)


async def ends(port: int, *data: bytes) -> str:
    """Send; return how it ends."""
    mallory = await enter(port)
    try:
        for one in data:
            await mallory.send(one)
        code, errors = await mallory.closed()
        return f"{code} after {len(errors)}"
    finally:
        mallory.drop()


@attack
async def messages_that_are_too_large(port: int) -> Outcome:
    """One byte too much, in one frame and in thousands; and a claim of terabytes."""
    whole = frame(TEXT, b" " * 65_537)
    first = frame(TEXT, b"[", final=False)
    pieces = first + frame(CONTINUATION, b" " * 10, final=False) * 6_600
    pieces += frame(CONTINUATION, b"]")
    claim = bytes([0x81, 0xFF]) + (2**42).to_bytes(8, "big") + bytes(4) + b"{"
    return await each([ends(port, one) for one in (whole, pieces, claim) for _ in range(3)])


@attack
async def frames_that_break_the_protocol(port: int) -> Outcome:
    """Reserved bits and opcodes, a fragmented ping, text that is none, a bomb nobody agreed to."""
    deflater = zlib.compressobj(wbits=-15)
    bomb = deflater.compress(bytes(50_000_000)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    broken = (
        frame(TEXT, b"{}", rsv1=True),
        frame(0x3, b"{}"),
        frame(PING, b"?", final=False),
        frame(TEXT, b"\xff\xfe"),
        frame(TEXT, bomb[:-4], rsv1=True),
    )
    return await each([ends(port, one) for one in broken for _ in range(3)])


@attack
async def json_that_costs_much(port: int) -> Outcome:
    """Deep, wide, huge in its numbers, and no JSON at all; ten times over."""
    wide = "{" + ",".join(f'"k{number}":1' for number in range(5_000)) + "}"
    bad = ("[" * 60_000, "{" * 60_000, f'{{"type":"Ping","data":{wide}', "1e999", "9" * 60_000)
    return await each(
        [ends(port, *[frame(TEXT, one.encode())] * 10) for one in bad for _ in range(3)]
    )


@attack
async def a_crowd_of_one(port: int) -> Outcome:
    """One user with more connections than a user may have, from everywhere."""
    opened = [await connect(port, next(_addresses)) for _ in range(60)]
    token = development_token("crowd")

    async def come(one: Socket) -> int:
        await one.send(request(token))
        return await one.status()

    statuses = await asyncio.gather(*map(come, opened))
    for one in opened:
        one.drop()
    return dict(Counter(map(str, statuses)))


@attack
async def a_mass_of_subscriptions(port: int) -> Outcome:
    """As many patterns as may be, the most expensive there are, from ten connections."""

    async def subscribe(user: str) -> int:
        mallory = await enter(port, user)
        errors = 0
        for number in range(60):
            words = [f"w{number}" if at == number % 16 else "*" for at in range(15)]
            pattern = ".".join(["abuse", *words])
            message = {"type": "Subscribe", "data": {"topics": [pattern]}, "id": f"s{number}"}
            await mallory.send(text(message))
            while (heard := await mallory.hear())["type"] not in {"Ack", "Error"}:
                pass
            errors += heard["type"] == "Error"
        mallory.drop()
        return errors

    return await each([subscribe(f"mallory{number}") for number in range(10)])


@attack
async def readers_that_do_not_read(port: int) -> Outcome:
    """Twenty connections on a loud topic that take nothing; they are dropped, others are not."""
    sleepers = [await enter(port, f"sleeper{number}", small=True) for number in range(20)]
    for one in sleepers:
        await one.send(text({"type": "Subscribe", "data": {"topics": [LOUD]}, "id": "s"}))
        while (await one.hear())["type"] != "Ack":
            pass
        one.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads
    speaker = await enter(port, "speaker")
    silence = asyncio.create_task(speaker.closed())
    message = {"type": "Broadcast", "data": {"topic": LOUD, "payload": "x" * LOUD_BYTES}}
    for _ in range(14 * 40):
        await speaker.send(text(message))
        await asyncio.sleep(1 / 40)
    silence.cancel()
    speaker.drop()
    for one in sleepers:
        one.writer.transport.resume_reading()  # type: ignore[attr-defined]  # likewise
    codes = await asyncio.gather(*(one.closed() for one in sleepers))
    return dict(Counter(str(code) for code, _ in codes))


def tell(**line: Any) -> None:
    """Say how far it is."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def main(port: int) -> None:
    """Do everything on the list."""
    for one in ATTACKS:
        name = getattr(one, "__name__", "")
        tell(begins=name)
        outcome = await one(port)
        await asyncio.sleep(REST_SECONDS)
        tell(ends=name, outcome=outcome)
        await asyncio.sleep(CALM_SECONDS)


if __name__ == "__main__":
    os.nice(19)
    asyncio.run(main(int(sys.argv[1])))

"""A gateway that believes an issuer, and how to knock at it."""

import asyncio

import pytest

from gateway.core import keyring
from tests.component.conftest import Start
from tests.support.embedded import Place
from tests.support.issuer import Issuer

SOON = 0.05
FAR = 3600.0


async def believing(start: Start, issuer: Issuer) -> Place:
    return await start(jwt_secret="", jwt_jwks_url=issuer.url)


async def status(place: Place, token: str) -> int:
    """What is answered to who knocks with a token and asks for no upgrade: 400 if it is good."""
    async with place.client.get("/ws", params={"token": token}) as answer:
        return answer.status


async def until_it_is(place: Place, expected: int, token: str) -> None:
    """Knock until the answer is this one, as a client would that comes back."""
    async with asyncio.timeout(10):
        while True:
            if await status(place, token) == expected:
                return
            await asyncio.sleep(SOON)


def hurry(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
    """Have the keyring wait for so long instead."""
    for name, value in seconds.items():
        monkeypatch.setattr(keyring, f"{name.upper()}_SECONDS", value)

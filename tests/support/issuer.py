"""An issuer of tokens that publishes its keys as a JWK set, in the test's own loop."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.cluster import free_ports

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def rsa_key() -> rsa.RSAPrivateKey:
    """Return a new key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Issuer:
    """Signs tokens by the keys that it has, and publishes those that are to be known."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys = {"first": rsa_key()}
        """By ``kid``; what is here is published."""

        self.answer: Answer = self.publish
        self.asked = 0
        self.strays: list[str] = []
        """Paths that were asked for beside the set."""

        self._next = asyncio.Event()

    def token(self, user: str, kid: str = "first", **header: Any) -> str:
        """Return a token by one of the keys."""
        return signed(user, self.keys[kid], kid, **header)

    async def publish(self, _: web.Request) -> web.StreamResponse:
        """Answer with the set."""
        algorithm: Any = jwt.PyJWS().get_algorithm_by_name("RS256")
        keys = [
            {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}
            for kid, key in self.keys.items()
        ]
        return web.json_response({"keys": keys})

    async def is_asked(self) -> None:
        """Wait for the next question."""
        self._next.clear()
        async with asyncio.timeout(10):
            await self._next.wait()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer whatever is asked for."""
        if request.path != "/jwks":
            self.strays.append(request.path)
            raise web.HTTPNotFound
        self.asked += 1
        self._next.set()
        return await self.answer(request)


def signed(user: str, key: rsa.RSAPrivateKey, kid: str, **header: Any) -> str:
    """Return a token by any key."""
    now = int(time.time())
    claims = {"sub": user, "iat": now, "exp": now + 3600}
    return jwt.encode(claims, key, "RS256", {"kid": kid, **header})


@asynccontextmanager
async def issuing(tls: ssl.SSLContext | None = None) -> AsyncIterator[Issuer]:
    """Run an issuer."""
    [port] = free_ports(1)
    scheme = "http" if tls is None else "https"
    issuer = Issuer(f"{scheme}://127.0.0.1:{port}/jwks")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", issuer.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    try:
        yield issuer
    finally:
        await runner.cleanup()

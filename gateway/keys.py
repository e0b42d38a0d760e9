"""The keys that tokens are checked by: one of the settings, or a set that an issuer publishes."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Protocol

import jwt
import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar
from prometheus_client import Counter

from gateway.core.jwks import VerificationKey, read_keys
from gateway.core.keyring import Keyring
from shared.errors import KeysUnavailable, Unauthorized
from shared.public_keys import algorithms_of, read_public_key
from shared.settings import Settings
from shared.token_keys import SYMMETRIC

log = structlog.get_logger()

FETCH_SECONDS = 5.0
MAX_BYTES = 256 * 1024


class Keys(Protocol):
    """Knows by which key a token must be checked."""

    @property
    def ready(self) -> bool:
        """Whether tokens can be checked."""

    def key_for(self, token: str) -> VerificationKey:
        """Return the key, without waiting.

        Raises:
            Unauthorized: the token names none, or one that there is not.
            KeysUnavailable: it is not known just now.
        """

    async def run(self) -> None:
        """Keep the keys fresh, if they can change."""


def make_keys(settings: Settings, fetches: Mapping[str, Counter]) -> Keys:
    """Return the keys that are set."""
    if settings.jwt_jwks_url:
        return PublishedKeys(settings.jwt_jwks_url, settings.jwt_algorithms, fetches)
    if settings.jwt_public_key:
        public = read_public_key(settings.jwt_public_key)
        return OneKey(public, algorithms_of(public).intersection(settings.jwt_algorithms))
    return OneKey(settings.jwt_secret, SYMMETRIC.keys() & settings.jwt_algorithms)


class OneKey:
    """The same key for all tokens."""

    ready = True

    def __init__(self, key: object, algorithms: Iterable[str]) -> None:
        self._key = VerificationKey(key, sorted(algorithms))

    def key_for(self, _token: str) -> VerificationKey:
        """Return the one."""
        return self._key

    async def run(self) -> None:
        """Do nothing: it does not change."""


class PublishedKeys:
    """The JWK set at a URL, fetched in the background; ``fetches`` counts by their outcome.

    No token makes it fetch anything but this set, and none waits for that. What it names with
    ``jku``, ``x5u``, ``x5c`` or ``jwk`` is not looked at (RFC 8725 3.10).
    """

    def __init__(self, url: str, algorithms: list[str], fetches: Mapping[str, Counter]) -> None:
        self._url = url
        self._algorithms = algorithms
        self._fetches = fetches
        self._ring = Keyring()
        self._missed = asyncio.Event()
        """Set when a token has named a key that is not here."""

    @property
    def ready(self) -> bool:
        """Whether the issuer has ever answered."""
        return self._ring.filled

    def key_for(self, token: str) -> VerificationKey:
        """Return the key that a token's ``kid`` names; see Keyring."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except (jwt.PyJWTError, RecursionError, ValueError) as error:
            raise Unauthorized("The token is not valid", reason=type(error).__name__) from error
        try:
            return self._ring.find(kid, time.monotonic())
        except (Unauthorized, KeysUnavailable):
            self._missed.set()
            raise

    async def run(self) -> None:
        """Fetch the set now and then: sooner if a token names a key that is not in it."""
        timeout = ClientTimeout(total=FETCH_SECONDS)
        # No cookies, and no unpacking: what is small on the way must not be large here.
        async with ClientSession(
            timeout=timeout, cookie_jar=DummyCookieJar(), auto_decompress=False
        ) as session:
            while True:
                self._missed.clear()
                now = time.monotonic()
                await self._refresh(session, now)
                pause = self._ring.pause(now)
                await asyncio.sleep(pause.least)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause.most - pause.least):
                        await self._missed.wait()

    async def _refresh(self, session: ClientSession, now: float) -> None:
        try:
            keys = read_keys(await self._fetch(session), self._algorithms)
        except (ClientError, OSError, TimeoutError, ValueError) as error:
            self._fetches["failed"].inc()
            reason = str(error) or type(error).__name__
            log.warning("keys not fetched", action="fetch", url=self._url, reason=reason)
            return
        self._fetches["done"].inc()
        changed = self._ring.replace(keys, now)
        if not keys:
            log.warning("no key that can be used", action="fetch", url=self._url)
        elif changed:
            log.info("keys", action="fetch", url=self._url, keys=[kid or "" for kid in keys])

    async def _fetch(self, session: ClientSession) -> bytes:
        """Return the document.

        Raises:
            ValueError: the answer is another one, or too long.
        """
        headers = {"Accept-Encoding": "identity"}
        async with session.get(self._url, headers=headers, allow_redirects=False) as response:
            if response.status != 200:  # noqa: PLR2004 - a redirect would lead elsewhere
                raise ValueError(f"answered with {response.status}")
            document = bytearray()
            async for chunk in response.content.iter_any():
                document += chunk
                if len(document) > MAX_BYTES:
                    raise ValueError(f"longer than {MAX_BYTES} bytes")
            return bytes(document)

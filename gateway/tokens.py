"""Checks tokens (RFC 7519; RFC 8725: the key decides the algorithms, never the header)."""

import time
from typing import Any

import jwt
import orjson

from gateway.core.identity import Grants, Identity
from gateway.keys import Keys
from shared.errors import TokenRefused, Unauthorized
from shared.recent import Recent
from shared.settings import Settings

SKEW_SECONDS = 30
"""How far ahead of ours the clock of an issuer, or another gateway, may be that stamps ``iat``."""

MAX_USER_ID = 128
SHARED_GRANTS = 256
LAST_INSTANT = 253_402_300_800  # year 10,000: what lies behind it is no date


class TokenVerifier:
    """Turns tokens into identities."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self._keys = keys
        self._issuer = settings.jwt_issuer or None
        self._audience = settings.jwt_audience or None
        self._type = _media_type(settings.jwt_type)
        self._leeway = settings.jwt_leeway_seconds
        self._max_life = settings.jwt_max_life_seconds or LAST_INSTANT
        self._default_permissions = settings.default_permissions
        self._jwt = jwt.PyJWT(options={"enforce_minimum_key_length": True})
        self._grants: Recent[str, Grants] = Recent(SHARED_GRANTS)
        """By what the claim says; most tokens say the same."""

    def verify(self, token: str) -> Identity:
        """Return whom the token names.

        Raises:
            Unauthorized: it is not valid, expired, or its claims are not as S4 describes.
            KeysUnavailable: its key is not known just now.
        """
        claims = self._checked(token)
        user_id = claims["sub"]
        if not (0 < len(user_id) <= MAX_USER_ID and user_id.isprintable()):
            raise Unauthorized("The claim sub must be 1 to 128 printable characters", claim="sub")
        expires_at, issued_at = self._times(claims)
        roles = claims.get("roles", [])
        admin = isinstance(roles, list) and "admin" in roles
        permissions = claims.get("permissions", self._default_permissions)
        return Identity(
            user_id=user_id,
            grants=ADMIN if admin else self._read(permissions),
            expires_at=expires_at,
            issued_at=issued_at,
            presence=_presence(claims.get("presence", {})),
            admin=admin,
        )

    def _checked(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that the issuer has signed, for us, and that still holds."""
        key = self._keys.key_for(token)
        try:
            found = self._jwt.decode_complete(
                token,
                key.key,
                algorithms=key.algorithms,
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway,
                options={"require": ["exp", "sub"], "verify_iat": False},
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthorized("The token has expired") from error
        except (jwt.PyJWTError, RecursionError, ValueError) as error:
            raise Unauthorized("The token is not valid", reason=type(error).__name__) from error
        if self._type and _media_type(found["header"].get("typ")) != self._type:
            raise Unauthorized("The token is of another type", reason="WrongType")
        claims: dict[str, Any] = found["payload"]
        return claims

    def _times(self, claims: dict[str, Any]) -> tuple[float, float | None]:
        """Return when the token expires, and when it was issued, if it says so."""
        expires_at = _instant(claims, "exp")
        issued_at = _instant(claims, "iat") if "iat" in claims else None
        latest = time.time() + self._leeway + SKEW_SECONDS
        if issued_at is not None and issued_at > latest:
            raise Unauthorized("The token is not valid yet", claim="iat")
        if expires_at - (latest if issued_at is None else issued_at) > self._max_life:
            raise Unauthorized(f"A token may live for {self._max_life:.0f} s", claim="exp")
        return expires_at, issued_at

    def _read(self, permissions: Any) -> Grants:
        said = repr(permissions)
        if (grants := self._grants.get(said)) is None:
            grants = Grants.read(permissions)
            self._grants.put(said, grants)
        return grants

    def renew(self, token: str, user_id: str) -> Identity:
        """Return whom a fresh token for the same user names (S3).

        Raises:
            TokenRefused: it is not valid, or another user's.
            KeysUnavailable: its key is not known just now.
        """
        try:
            identity = self.verify(token)
        except Unauthorized as error:
            raise TokenRefused(error.message, **error.details) from error
        if identity.user_id != user_id:
            raise TokenRefused("The new token is another user's")
        return identity


def _instant(claims: dict[str, Any], name: str) -> float:
    """Read a NumericDate, or text that is one."""
    claim = claims[name]
    try:
        whole = int(claim)  # neither infinite nor NaN, which is not longer than any life
        return float(min(whole if isinstance(claim, str) else claim, LAST_INSTANT))
    except (ArithmeticError, TypeError, ValueError) as error:
        raise Unauthorized(f"The claim {name} is no time", claim=name) from error


def _media_type(name: object) -> str:
    """Return what ``typ`` means: case and the prefix say nothing (RFC 7515 4.1.9)."""
    return name.lower().removeprefix("application/") if isinstance(name, str) else ""


def _presence(claim: object) -> bytes:
    if not isinstance(claim, dict):
        raise Unauthorized("The claim presence must be an object", claim="presence")
    if not claim:
        return b"{}"
    try:
        return bytes(
            memoryview(orjson.dumps(claim))
        )  # orjson's own bytes hold 4 kB, whatever is in
    except TypeError as error:  # a number or a text that JSON cannot hold exactly
        raise Unauthorized("The claim presence is no plain JSON", claim="presence") from error


ADMIN = Grants.read(
    {
        "subscribe": ["#", "system.#"],
        "publish": ["#"],
        "direct": True,
        "presence": ["presence.#"],
        "history": ["#"],
        "extensions": ["*"],
    }
)
"""What the role ``admin`` may do; nobody but the service speaks on reserved topics (T4)."""

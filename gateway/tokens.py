"""Checks tokens (RFC 7519; RFC 8725: the key decides the algorithms, never the header)."""

from typing import Any

import jwt
import orjson

from gateway.core.identity import Grants, Identity
from shared.errors import TokenRefused, Unauthorized
from shared.recent import Recent
from shared.settings import Settings

LEEWAY_SECONDS = 10
MAX_USER_ID = 128
SHARED_GRANTS = 256
LAST_INSTANT = 253_402_300_800  # year 10,000: what lies behind it is no date


class TokenVerifier:
    """Turns tokens into identities."""

    def __init__(self, settings: Settings) -> None:
        self._key = settings.jwt_public_key or settings.jwt_secret
        self._algorithms = list(settings.jwt_algorithms)
        self._issuer = settings.jwt_issuer or None
        self._audience = settings.jwt_audience or None
        self._default_permissions = settings.default_permissions
        self._jwt = jwt.PyJWT(options={"enforce_minimum_key_length": True})
        self._grants: Recent[str, Grants] = Recent(SHARED_GRANTS)
        """By what the claim says; most tokens say the same."""

    def verify(self, token: str) -> Identity:
        """Return whom the token names.

        Raises:
            Unauthorized: it is not valid, expired, or its claims are not as S4 describes.
        """
        try:
            claims = self._jwt.decode(
                token,
                self._key,
                algorithms=self._algorithms,
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthorized("The token has expired") from error
        except (jwt.PyJWTError, RecursionError, ValueError) as error:
            raise Unauthorized("The token is not valid", reason=type(error).__name__) from error
        user_id = claims["sub"]
        if not (0 < len(user_id) <= MAX_USER_ID and user_id.isprintable()):
            raise Unauthorized("The claim sub must be 1 to 128 printable characters", claim="sub")
        roles = claims.get("roles", [])
        admin = isinstance(roles, list) and "admin" in roles
        permissions = claims.get("permissions", self._default_permissions)
        return Identity(
            user_id=user_id,
            grants=ADMIN if admin else self._read(permissions),
            expires_at=_instant(claims["exp"]),
            issued_at=_instant(claims["iat"]) if "iat" in claims else None,
            presence=_presence(claims.get("presence", {})),
            admin=admin,
        )

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
        """
        try:
            identity = self.verify(token)
        except Unauthorized as error:
            raise TokenRefused(error.message, **error.details) from error
        if identity.user_id != user_id:
            raise TokenRefused("The new token is another user's")
        return identity


def _instant(seconds: float | str) -> float:
    """Read a NumericDate; PyJWT has seen to it that it is a number, or text that is one."""
    number = int(seconds) if isinstance(seconds, str) else seconds
    return float(min(number, LAST_INSTANT))


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

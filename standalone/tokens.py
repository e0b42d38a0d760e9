"""Development tokens, signed with this checkout's secret."""

import time
from typing import Any

import jwt

from shared.settings import WrongSettings, load


def development_token(
    user_id: str, ttl_seconds: int = 3600, claims: dict[str, Any] | None = None
) -> str:
    """Return a token for a user that a service in development mode accepts.

    ``claims`` are added, and win. A negative ``ttl_seconds`` gives an expired one.

    Raises:
        WrongSettings: the secret or key that is set cannot sign tokens.
    """
    settings = load(mode="development")
    if not settings.jwt_secret:
        variable = "REALTIME_JWT_PUBLIC_KEY" if settings.jwt_public_key else "REALTIME_JWT_JWKS_URL"
        raise WrongSettings(f"{variable}: a public key cannot sign tokens")
    if settings.jwt_max_life_seconds and ttl_seconds > settings.jwt_max_life_seconds:
        most = settings.jwt_max_life_seconds
        raise WrongSettings(f"REALTIME_JWT_MAX_LIFE_SECONDS: a token may live for {most} s")
    now = int(time.time())
    body: dict[str, Any] = {"sub": user_id, "iat": min(now, now + ttl_seconds)}
    body["exp"] = now + ttl_seconds
    if settings.jwt_issuer:
        body["iss"] = settings.jwt_issuer
    if settings.jwt_audience:
        body["aud"] = settings.jwt_audience
    key, algorithm = settings.jwt_secret, settings.jwt_algorithms[0]
    headers = {"typ": settings.jwt_type or "JWT"}
    return jwt.encode({**body, **(claims or {})}, key, algorithm, headers)

"""PURE: whether what tokens are to be checked by is good enough, told by the settings' names."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.loopback import is_loopback
from shared.secrecy import weakness

if TYPE_CHECKING:
    from shared.settings import Settings

KEYS = ("jwt_secret", "jwt_public_key", "jwt_jwks_url")
"""What tokens are checked by; one of them is set."""

MIN_SECRET_BYTES = 32
SYMMETRIC = {"HS256": MIN_SECRET_BYTES, "HS384": 48, "HS512": 64}
"""With the bytes that a secret needs at least (RFC 7518 3.2)."""

ASYMMETRIC = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)


def wrong_keys(settings: "Settings") -> list[str]:
    """Say what is wrong with what tokens are to be checked by."""
    given = [f"REALTIME_{name.upper()}" for name in KEYS if getattr(settings, name)]
    if len(given) > 1:
        return [f"{given[0]}: set it or {' or '.join(given[1:])}, not both"]
    allowed, problems = ASYMMETRIC, []
    if settings.jwt_public_key:
        # Only here, for it takes a quarter of what a router needs to start.
        from shared.public_keys import algorithms_of, read_public_key  # noqa: PLC0415

        try:
            allowed = algorithms_of(read_public_key(settings.jwt_public_key))
        except ValueError as error:
            problems.append(f"REALTIME_JWT_PUBLIC_KEY: {error}")
    elif settings.jwt_jwks_url:
        problems += _wrong_url(settings)
    else:
        allowed = frozenset(SYMMETRIC)
    if wrong := sorted(set(settings.jwt_algorithms) - allowed):
        problems.append(
            f"REALTIME_JWT_ALGORITHMS: {', '.join(wrong)} cannot be used with this key; "
            f"choose from {', '.join(sorted(allowed))}"
        )
    if settings.jwt_secret:
        problems += _weak_secret(settings)
    return problems


def _weak_secret(settings: "Settings") -> list[str]:
    secret = settings.jwt_secret
    needed = max(SYMMETRIC.get(name, MIN_SECRET_BYTES) for name in settings.jwt_algorithms)
    if len(secret.encode()) < needed:
        return [f"REALTIME_JWT_SECRET: must have at least {needed} bytes"]
    if settings.mode == "production" and (why := weakness(secret)):
        return [f"REALTIME_JWT_SECRET: {why}; make one with `openssl rand -base64 48`"]
    return []


def _wrong_url(settings: "Settings") -> list[str]:
    """Say why keys cannot be fetched there: on a way that others can change, they prove nothing."""
    try:
        url = urlsplit(settings.jwt_jwks_url)
        host = url.hostname
    except ValueError:
        host = None
    if not host or url.username is not None or url.fragment:
        return ["REALTIME_JWT_JWKS_URL: must be a URL with a host, without user and fragment"]
    near = settings.mode == "development" and is_loopback(host)
    if url.scheme != "https" and not (url.scheme == "http" and near):
        return ["REALTIME_JWT_JWKS_URL: must be https://; http:// only to loopback in development"]
    return []

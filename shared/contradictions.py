"""PURE: what is wrong with settings that are well-formed each; one line for each problem."""

from ipaddress import ip_network
from typing import TYPE_CHECKING

from shared.errors import BadRequest
from shared.token_keys import KEYS, MIN_SECRET_BYTES, wrong_keys
from shared.topics.pattern import parse_pattern

if TYPE_CHECKING:
    from shared.settings import Settings


def contradictions(settings: "Settings") -> list[str]:
    """Say what cannot be meant, in whatever mode."""
    problems = wrong_keys(settings)
    if any(len(key.encode()) < MIN_SECRET_BYTES for key in settings.api_keys):
        problems.append(f"REALTIME_API_KEYS: each must have at least {MIN_SECRET_BYTES} bytes")
    if bool(settings.tls_cert_file) != bool(settings.tls_key_file):
        problems.append("REALTIME_TLS_CERT_FILE, REALTIME_TLS_KEY_FILE: set both, or neither")
    if "no_verify_ssl" in settings.amqp_url:
        problems.append("REALTIME_AMQP_URL: no_verify_ssl trusts anybody; name a cafile instead")
    if "*" in settings.allowed_origins:
        problems.append("REALTIME_ALLOWED_ORIGINS: name each origin; * is not one")
    return problems + _wrong_networks(settings) + _wrong_patterns(settings)


def missing(settings: "Settings") -> list[str]:
    """Say what who serves clients in production must be told."""
    problems = []
    if not any(getattr(settings, name) for name in KEYS):
        others = "REALTIME_JWT_PUBLIC_KEY or REALTIME_JWT_JWKS_URL"
        problems.append(f"REALTIME_JWT_SECRET: set it, {others} in production")
    if not settings.jwt_issuer:
        problems.append("REALTIME_JWT_ISSUER: must be set in production")
    if not settings.allowed_origins:
        problems.append("REALTIME_ALLOWED_ORIGINS: must be set in production")
    return problems


def _wrong_networks(settings: "Settings") -> list[str]:
    problems = []
    for network in settings.trusted_proxies:
        try:
            ip_network(network)
        except ValueError as error:
            problems.append(f"REALTIME_TRUSTED_PROXIES: {error}")
    return problems


def _wrong_patterns(settings: "Settings") -> list[str]:
    problems = []
    for pattern in settings.history or {}:
        try:
            parse_pattern(pattern)
        except BadRequest as error:
            problems.append(f"REALTIME_HISTORY: {pattern[:64]!r}: {error.details['reason']}")
    return problems

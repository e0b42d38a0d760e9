"""PURE: a JWK set (RFC 7517), and what of it tokens can be checked by."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import jwt
import orjson

from shared.public_keys import algorithms_of

MAX_KEYS = 100
"""More are read by mistake; each takes time."""

NO_KEY = (jwt.PyJWTError, LookupError, NotImplementedError, TypeError, ValueError)
"""What PyJWT says to something that makes no key."""

KeyId = str | None
Keys = dict[KeyId, "VerificationKey"]


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """What a token's signature is checked by."""

    key: Any
    """A secret, or a public key of ``cryptography``."""

    algorithms: list[str]
    """Those that go with the key; a token's header chooses among them, and never another."""


def read_keys(document: bytes, allowed: Collection[str]) -> Keys:
    """Return the keys of a set that can check one of the ``allowed`` algorithms, by ``kid``.

    Others are left out: for encryption, private or symmetric ones, weak ones, unknown types.

    Raises:
        ValueError: it is no JWK set.
    """
    found = orjson.loads(document)
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise ValueError(f"not a JWK set of at most {MAX_KEYS} keys")
    keys: Keys = {}
    for one in listed:
        if isinstance(one, dict) and (key := _read(one, allowed)) is not None:
            kid = one.get("kid")
            keys[kid if isinstance(kid, str) else None] = key
    return keys


def _read(one: dict[str, Any], allowed: Collection[str]) -> VerificationKey | None:
    try:
        if one.get("use", "sig") != "sig" or "verify" not in one.get("key_ops", ["verify"]):
            return None
        key = jwt.PyJWK(one).key
    except NO_KEY:
        return None
    algorithms = algorithms_of(key).intersection(allowed)
    if alg := one.get("alg"):
        algorithms &= {alg}
    return VerificationKey(key, sorted(algorithms)) if algorithms else None

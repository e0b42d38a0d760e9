"""Keys, tokens good and bad, and those who believe them."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from prometheus_client import CollectorRegistry

from gateway.core.jwks import read_keys
from gateway.keys import PublishedKeys, make_keys
from gateway.metrics import Metrics
from gateway.tokens import TokenVerifier
from shared.settings import Settings

SECRET = "s" * 64
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
FETCHES = Metrics(CollectorRegistry()).key_fetches


def pem(key: Any) -> str:
    """The public half."""
    encoded: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return encoded.decode()


PEM = pem(RSA)
DER = RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
JWK = jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key())


def claims(**given: Any) -> dict[str, Any]:
    """Sound claims, but for those given; None leaves one out."""
    sound = {"sub": "alice", "exp": int(time.time()) + 3600, **given}
    return {name: value for name, value in sound.items() if value is not None}


def by_hand(header: dict[str, Any], payload: dict[str, Any], key: bytes) -> str:
    """A token with an HMAC that no library would make, or, without a key, with none."""
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (header, payload)
    )
    signed = b".".join(parts)
    digest = hmac.digest(key, signed, hashlib.sha256) if key else b""
    return f"{signed.decode()}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def part_of(header: dict[str, Any]) -> str:
    """The first part of a token, as PyJWT writes it."""
    text = json.dumps(header, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def signed(**given: Any) -> str:
    return by_hand({"alg": "HS256", "typ": "JWT"}, claims(**given), SECRET.encode())


def verifier(**given: Any) -> TokenVerifier:
    default = {"jwt_secret": SECRET, "jwt_algorithms": ["HS256"], "default_permissions": {}}
    settings = Settings(**{**default, **given})
    return TokenVerifier(settings, make_keys(settings, FETCHES))


def by_public_key(key: Any, *algorithms: str) -> TokenVerifier:
    return verifier(jwt_secret="", jwt_public_key=pem(key), jwt_algorithms=list(algorithms))


def by_set(*algorithms: str, **keys: Any) -> TokenVerifier:
    """One that believes an issuer who has published these keys, by ``kid``."""
    settings = Settings(jwt_algorithms=list(algorithms), default_permissions={})
    published = PublishedKeys("https://id.example.com", settings.jwt_algorithms, FETCHES)
    document = json.dumps({"keys": [{**as_jwk(key), "kid": kid} for kid, key in keys.items()]})
    an_hour_on = time.monotonic() + 3600  # so that the answer stays a fresh one
    published._ring.replace(read_keys(document.encode(), algorithms), an_hour_on)
    return TokenVerifier(settings, published)


def as_jwk(key: Any) -> dict[str, Any]:
    """The public half."""
    name = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256"}
    found = next((name[kind] for kind in name if isinstance(key, kind)), "EdDSA")
    algorithm: Any = jwt.PyJWS().get_algorithm_by_name(found)
    jwk: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return jwk

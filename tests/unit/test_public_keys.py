"""Which public keys tokens can be checked by: shared/public_keys.py."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from shared.public_keys import algorithms_of, read_public_key

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
SHORT = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - to be refused
DSA = dsa.generate_private_key(2048)


def pem(key: Any) -> str:
    encoded: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return encoded.decode()


def private(key: Any, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    encoded: bytes = key.private_bytes(Encoding.PEM, form, NoEncryption())
    return encoded.decode()


@pytest.mark.parametrize(
    ("key", "algorithms"),
    [
        (RSA, {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        (CURVE, {"ES256"}),
        (ec.generate_private_key(ec.SECP521R1()), {"ES512"}),
        (ed25519.Ed25519PrivateKey.generate(), {"EdDSA"}),
    ],
)
def test_a_key_is_good_for_the_algorithms_of_its_type(key, algorithms):
    assert algorithms_of(read_public_key(pem(key.public_key()))) == algorithms
    assert algorithms_of(key) == set()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (private(RSA), "private"),
        (private(RSA, PrivateFormat.TraditionalOpenSSL), "private"),
        (private(CURVE), "private"),
        (private(CURVE) + pem(CURVE.public_key()), "private"),
        (pem(SHORT.public_key()), "2048"),
        (pem(ec.generate_private_key(ec.SECP256K1()).public_key()), "no algorithm"),
        (pem(DSA.public_key()), "no algorithm"),
        (pem(x25519.X25519PrivateKey.generate().public_key()), "no algorithm"),
        ("PEM", "no public key"),
        ("", "no public key"),
        (pem(RSA.public_key())[:200], "no public key"),
        (pem(RSA.public_key()).replace("M", "N"), "no public key"),
    ],
)
def test_what_no_token_can_be_checked_by_is_refused_with_the_reason(text, why):
    with pytest.raises(ValueError, match=why):
        read_public_key(text)

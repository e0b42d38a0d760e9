"""What of a JWK set is believed: gateway/core/jwks.py."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.jwks import MAX_KEYS, Keys, read_keys

ALL = ["RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA", "HS256"]
JWS = jwt.PyJWS()
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(key: Any, algorithm: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = JWS.get_algorithm_by_name(algorithm).to_jwk(key, as_dict=True)
    found.pop("key_ops", None)
    return {**found, "kid": "k", **more}


RSA = jwk(RSA_KEY.public_key(), "RS256")
SHORT = jwk(
    rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key(),  # noqa: S505
    "RS256",
)
P256 = jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), "ES256")
P384 = jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), "ES384")
ED25519 = jwk(ed25519.Ed25519PrivateKey.generate().public_key(), "EdDSA")
ED448 = jwk(ed448.Ed448PrivateKey.generate().public_key(), "EdDSA")


def read(*keys: Any, allowed: list[str] = ALL) -> Keys:
    return read_keys(json.dumps({"keys": keys}).encode(), allowed)


def algorithms(key: dict[str, Any], **more: Any) -> list[str]:
    [found] = read({**key, **more}).values()
    return found.algorithms


def test_the_type_of_a_key_its_curve_and_its_alg_say_what_it_can_check():
    assert algorithms(RSA) == ["PS256", "RS256", "RS512"]
    assert algorithms(RSA, alg="PS256") == ["PS256"]
    assert algorithms(P256) == algorithms(P256, alg="ES256") == ["ES256"]
    assert algorithms(P384) == ["ES384"]
    assert algorithms(ED25519) == algorithms(ED448, alg="EdDSA") == ["EdDSA"]


def test_no_key_can_check_what_is_not_allowed():
    assert read(RSA, allowed=["ES256"]) == {}
    assert read({**RSA, "alg": "PS256"}, allowed=["RS256"]) == {}
    assert [key.algorithms for key in read(RSA, allowed=["RS512"]).values()] == [["RS512"]]


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "oct", "k": "c2VjcmV0" * 8, "kid": "k"},
        {"kty": "oct", "k": "c2VjcmV0" * 8, "kid": "k", "alg": "HS256"},
        {**RSA, "alg": "HS256"},
        {**RSA, "alg": "none"},
        {**RSA, "alg": "RSA-OAEP"},
        {**RSA, "alg": ["RS256"]},
        {**RSA, "alg": "ES256"},
        {**RSA, "use": "enc"},
        {**RSA, "use": ["sig"]},
        {**RSA, "key_ops": ["encrypt"]},
        {**RSA, "key_ops": 1},
        jwk(RSA_KEY, "RS256"),
        SHORT,
        {**P256, "crv": "P-384"},
        {**P256, "crv": "secp256k1"},
        {**P256, "x": P256["y"], "y": P256["x"]},
        {**ED25519, "x": 1},
        {**ED25519, "crv": "X25519"},
        {"kty": "RSA", "kid": "k"},
        {"kid": "k"},
        {},
        "RSA",
        None,
    ],
    ids=lambda key: str(key)[:40],
)
def test_a_key_that_is_no_good_is_left_out_and_the_others_are_kept(key):
    assert read(key) == {}
    assert list(read(key, {**P256, "kid": "good"})) == ["good"]


def test_a_key_without_a_name_is_that_of_tokens_that_name_none():
    nameless = {name: P256[name] for name in P256 if name != "kid"}

    assert list(read(nameless, {**RSA, "kid": "k"})) == [None, "k"]
    assert list(read({**RSA, "kid": 1})) == [None]


@pytest.mark.parametrize(
    "document",
    ["", "[]", "{}", "null", '{"keys": {}}', '{"keys": null}', "<html>", "[" * 5000, "\x00"],
)
def test_what_is_no_set_of_keys_is_refused(document):
    with pytest.raises(ValueError):  # noqa: PT011 - orjson's, too
        read_keys(document.encode(), ALL)


def test_a_set_of_too_many_keys_is_refused():
    assert len(read(*({**P256, "kid": str(n)} for n in range(MAX_KEYS)))) == MAX_KEYS
    with pytest.raises(ValueError, match="100"):
        read(*[P256] * (MAX_KEYS + 1))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(RSA["n"]),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
NAMES = st.sampled_from(["kty", "crv", "alg", "use", "key_ops", "kid", "n", "e", "x", "y", "d"])


@given(st.sampled_from([RSA, P256, ED25519]), st.dictionaries(NAMES, VALUES, max_size=3))
def test_whatever_a_key_is_made_of_nothing_breaks(key, changed):
    read({**key, **changed})

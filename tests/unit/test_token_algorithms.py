"""By which algorithms tokens are believed: gateway/tokens.py, with gateway/keys.py."""

from functools import partial
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from shared.errors import Unauthorized
from tests.unit.token_builders import (
    CURVE,
    DER,
    EDWARDS,
    JWK,
    OTHER_RSA,
    PEM,
    RSA,
    SECRET,
    as_jwk,
    by_hand,
    by_public_key,
    by_set,
    claims,
    part_of,
    signed,
    verifier,
)

ALGORITHMS: dict[str, tuple[Any, Any]] = {
    **dict.fromkeys(
        ("HS256", "HS384", "HS512"), (SECRET, lambda one: verifier(jwt_algorithms=[one]))
    ),
    **{
        one: (key, partial(by_public_key, key))
        for key, ones in (
            (RSA, ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
            (CURVE, ("ES256",)),
            (ec.generate_private_key(ec.SECP384R1()), ("ES384",)),
            (ec.generate_private_key(ec.SECP521R1()), ("ES512",)),
            (EDWARDS, ("EdDSA",)),
        )
        for one in ones
    },
}
"""By name: the key that signs, and what makes a verifier."""


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_is_believed_where_it_is_set_and_no_other_of_its_family(algorithm):
    _, make = ALGORITHMS[algorithm]

    for other, (signs, _) in ALGORITHMS.items():
        token = jwt.encode(claims(), signs, other)
        if other == algorithm:
            assert make(algorithm).verify(token).user_id == "alice"
        else:
            with pytest.raises(Unauthorized):
                make(algorithm).verify(token)


FORGED = {
    "none": by_hand({"alg": "none"}, claims(), b""),
    "None": by_hand({"alg": "None"}, claims(), b""),
    "no algorithm": by_hand({"typ": "JWT"}, claims(), SECRET.encode()),
    "no algorithm, the kid of a set": by_hand({"kid": "rsa"}, claims(), PEM.encode()),
    "an algorithm that is no text": by_hand({"alg": ["HS256"]}, claims(), SECRET.encode()),
    "lower case": by_hand({"alg": "hs256"}, claims(), SECRET.encode()),
    "HS256, signed with nothing": by_hand({"alg": "HS256"}, claims(), b"\x00"),
    "HS512": jwt.encode(claims(), SECRET, "HS512"),
    "HS256, another secret": jwt.encode(claims(), "o" * 64, "HS256"),
    "RS256, another key": jwt.encode(claims(), OTHER_RSA, "RS256", {"kid": "rsa"}),
    "RS512": jwt.encode(claims(), RSA, "RS512", {"kid": "rsa"}),
    "PS256": jwt.encode(claims(), RSA, "PS256", {"kid": "rsa"}),
    "lower case, the right key": jwt.encode(claims(), RSA, "RS256", {"kid": "rsa"}).replace(
        *(part_of({"alg": alg, "kid": "rsa", "typ": "JWT"}) for alg in ("RS256", "rs256"))
    ),
    "key in the header": jwt.encode(
        claims(), OTHER_RSA, "RS256", headers={"jwk": {"kty": "RSA"}, "jku": "https://evil.com"}
    ),
    "key in the header, kid of a set": jwt.encode(
        claims(), OTHER_RSA, "RS256", {"kid": "rsa", "jwk": as_jwk(OTHER_RSA), "x5u": "https://x"}
    ),
    "unknown critical header": by_hand(
        {"alg": "HS256", "crit": ["x"], "x": 1}, claims(), SECRET.encode()
    ),
    "no token": "",
    "no JWT": "a.b.c",
    "not ASCII": "é.é.é",
    "a lone surrogate": "\ud800.e30.e30",
    "too many parts": signed() + ".e30",
    "a kid that is no text": by_hand({"alg": "RS256", "kid": ["rsa"]}, claims(), PEM.encode()),
    **{
        f"{algorithm}, HMAC with the public key as {form}, kid {kid}": by_hand(
            {"alg": algorithm} if kid is None else {"alg": algorithm, "kid": kid}, claims(), key
        )
        for algorithm in ("HS256", "RS256", "hs256")
        for form, key in (("PEM", PEM.encode()), ("DER", DER), ("JWK", JWK.encode()))
        for kid in (None, "rsa")
    },
}
BELIEVERS = {
    "secret": verifier(),
    "RSA": by_public_key(RSA, "RS256"),
    "curve": by_public_key(CURVE, "ES256"),
    "Edwards curve": by_public_key(EDWARDS, "EdDSA"),
    "set": by_set("RS256", "ES256", "EdDSA", rsa=RSA, curve=CURVE, edwards=EDWARDS),
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize("believes", BELIEVERS.values(), ids=BELIEVERS)
def test_the_key_decides_the_algorithm_and_never_the_token(believes, token):
    with pytest.raises(Unauthorized):
        believes.verify(token)


def test_even_an_hs_algorithm_beside_a_public_key_makes_no_secret_of_it():
    both = ["RS256", "HS256"]

    for careless in (by_public_key(RSA, *both), by_set(*both, rsa=RSA)):
        for key in (PEM.encode(), DER, JWK.encode()):
            with pytest.raises(Unauthorized):
                careless.verify(by_hand({"alg": "HS256", "kid": "rsa"}, claims(), key))


def test_a_key_of_a_set_is_believed_for_its_own_algorithm_alone():
    believes = BELIEVERS["set"]
    keys = {"rsa": (RSA, "RS256"), "curve": (CURVE, "ES256"), "edwards": (EDWARDS, "EdDSA")}

    for named in keys:
        for kid, (key, algorithm) in keys.items():
            token = jwt.encode(claims(), key, algorithm, {"kid": named})
            if kid == named:
                assert believes.verify(token).user_id == "alice"
            else:
                with pytest.raises(Unauthorized):
                    believes.verify(token)

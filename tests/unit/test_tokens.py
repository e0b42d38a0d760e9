"""Which tokens are believed: gateway/tokens.py. ``now`` is the real clock's, as in PyJWT."""

import base64
import hashlib
import hmac
import json
import time
from contextlib import suppress
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.tokens import LEEWAY_SECONDS, TokenVerifier
from shared.errors import TokenRefused, Unauthorized
from shared.settings import Settings

SECRET = "s" * 64
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
CURVE_PEM = (
    CURVE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
)


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


def signed(**given: Any) -> str:
    return by_hand({"alg": "HS256", "typ": "JWT"}, claims(**given), SECRET.encode())


def verifier(**given: Any) -> TokenVerifier:
    default = {"jwt_secret": SECRET, "jwt_algorithms": ["HS256"], "default_permissions": {}}
    return TokenVerifier(Settings(**{**default, **given}))


def by_public_key(pem: str, algorithm: str) -> TokenVerifier:
    return verifier(jwt_secret="", jwt_public_key=pem, jwt_algorithms=[algorithm])


def refusal(token: str, **settings: Any) -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        verifier(**settings).verify(token)
    return caught.value


# ---- algorithms ----------------------------------------------------------------------------------


def test_tokens_of_the_right_key_and_algorithm_are_believed():
    assert verifier().verify(jwt.encode(claims(), SECRET, "HS256")).user_id == "alice"
    assert by_public_key(PEM, "RS256").verify(jwt.encode(claims(), RSA, "RS256")).user_id == "alice"
    by_curve = by_public_key(CURVE_PEM, "ES256")
    assert by_curve.verify(jwt.encode(claims(), CURVE, "ES256")).user_id == "alice"


FORGED = {
    "none": by_hand({"alg": "none"}, claims(), b""),
    "None": by_hand({"alg": "None"}, claims(), b""),
    "no algorithm": by_hand({"typ": "JWT"}, claims(), SECRET.encode()),
    "HS256, signed with the public key": by_hand({"alg": "HS256"}, claims(), PEM.encode()),
    "RS256, HMAC with the public key": by_hand({"alg": "RS256"}, claims(), PEM.encode()),
    "HS256, signed with nothing": by_hand({"alg": "HS256"}, claims(), b"\x00"),
    "HS512": jwt.encode(claims(), SECRET, "HS512"),
    "HS256, another secret": jwt.encode(claims(), "o" * 64, "HS256"),
    "RS256, another key": jwt.encode(claims(), OTHER_RSA, "RS256"),
    "RS512": jwt.encode(claims(), RSA, "RS512"),
    "PS256": jwt.encode(claims(), RSA, "PS256"),
    "key in the header": jwt.encode(
        claims(), OTHER_RSA, "RS256", headers={"jwk": {"kty": "RSA"}, "jku": "https://evil.com"}
    ),
    "unknown critical header": by_hand(
        {"alg": "HS256", "crit": ["x"], "x": 1}, claims(), SECRET.encode()
    ),
    "no token": "",
    "no JWT": "a.b.c",
    "not ASCII": "é.é.é",
    "a lone surrogate": "\ud800.e30.e30",
    "too many parts": signed() + ".e30",
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize(
    "believes",
    [verifier(), by_public_key(PEM, "RS256"), by_public_key(CURVE_PEM, "ES256")],
    ids=["secret", "RSA", "curve"],
)
def test_the_key_decides_the_algorithm_and_never_the_token(believes, token):
    with pytest.raises(Unauthorized):
        believes.verify(token)


@pytest.mark.parametrize(
    ("pem", "algorithm", "token"),
    [
        (PEM, "RS256", jwt.encode(claims(), CURVE, "ES256")),
        (CURVE_PEM, "ES256", jwt.encode(claims(), RSA, "RS256")),
        (PEM, "RS256", jwt.encode(claims(), SECRET, "HS256")),
    ],
)
def test_a_token_of_another_family_is_refused(pem, algorithm, token):
    with pytest.raises(Unauthorized):
        by_public_key(pem, algorithm).verify(token)


def test_a_changed_token_is_refused():
    head, _, signature = signed().split(".")
    _, payload, _ = signed(sub="eve").split(".")

    refusal(f"{head}.{payload}.{signature}")


# ---- claims --------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", ["exp", "sub"])
def test_a_token_without_an_end_or_a_name_is_refused(claim):
    refusal(signed(**{claim: None}))


def test_a_token_is_believed_until_its_end_and_ten_seconds_longer():
    now = int(time.time())

    assert LEEWAY_SECONDS == 10
    assert verifier().verify(signed(exp=now - 5)).expires_at == now - 5
    assert refusal(signed(exp=now - 12)).message == "The token has expired"


def test_a_token_is_not_believed_before_its_time():
    now = int(time.time())

    assert verifier().verify(signed(nbf=now + 5, iat=now + 5))
    refusal(signed(nbf=now + 60))
    refusal(signed(iat=now + 60))


@pytest.mark.parametrize("exp", ["soon", [], {}, float("inf"), float("nan"), True, 0, -1])
def test_an_end_that_is_no_time_is_refused(exp):
    refusal(signed(exp=exp))


@pytest.mark.parametrize("exp", [1e300, 10**18, 10**400], ids=["1e300", "10**18", "10**400"])
def test_an_end_beyond_all_dates_is_refused_or_the_last_date(exp):
    with suppress(Unauthorized):
        assert verifier().verify(signed(exp=exp)).expires_at <= 253_402_300_800


def test_the_issuer_and_the_audience_must_be_the_ones_that_are_set():
    ours = {"iss": "us", "aud": ["x", "here"]}
    settings = {"jwt_issuer": "us", "jwt_audience": "here"}

    assert verifier(**settings).verify(signed(**ours))
    for wrong in ({"iss": "them"}, {"iss": None}, {"aud": "there"}, {"aud": None}):
        refusal(signed(**{**ours, **wrong}), **settings)


@pytest.mark.parametrize(
    "user_id", ["a", "a b", "bob@example.com", "Zoë", "a.*.#", "x" * 128, "🦊"]
)
def test_a_user_may_be_called_anything_printable(user_id):
    assert verifier().verify(signed(sub=user_id)).user_id == user_id


@pytest.mark.parametrize(
    "user_id", ["", "x" * 129, "a\nb", "a\x00", "\u202ebob", "\ud800", 1, [], {}, True]
)
def test_a_name_that_is_not_printable_or_no_text_is_refused(user_id):
    refusal(signed(sub=user_id))


@pytest.mark.parametrize("permissions", [[], "subscribe", {"subscribe": "#"}, {"direct": [1]}])
def test_permissions_of_another_shape_are_refused(permissions):
    refusal(signed(permissions=permissions))


def test_without_permissions_the_default_ones_hold():
    default = {"publish": ["news"]}

    found = verifier(default_permissions=default)
    assert found.verify(signed()).grants.publish == (("news",),)
    assert found.verify(signed(permissions={})).grants.publish == ()


def test_an_admin_may_do_everything_and_only_a_list_of_roles_makes_one():
    everything = verifier().verify(signed(roles=["admin"], permissions={})).grants

    everything.require("subscribe", ("a", "#"))
    everything.require("subscribe", ("system", "#"))
    everything.require("presence", ("presence", "*"))
    everything.require_direct("bob")
    for roles in ("admin", {"admin": 1}, ["Admin"], [["admin"]], [], 1):
        assert verifier().verify(signed(roles=roles)).grants.publish == ()


def test_the_presence_claim_is_what_others_see():
    assert verifier().verify(signed(presence={"device": "web"})).presence == b'{"device":"web"}'
    assert verifier().verify(signed()).presence == b"{}"


@pytest.mark.parametrize("presence", [[], "web", 1, True])
def test_a_presence_claim_that_is_no_object_is_refused(presence):
    assert refusal(signed(presence=presence)).details == {"claim": "presence"}


@pytest.mark.parametrize("odd", [2**70, "\ud800", 1e400, {"a": {"b": []}}])
def test_a_presence_claim_that_json_cannot_hold_is_refused_and_breaks_nothing(odd):
    with suppress(Unauthorized):
        json.loads(verifier().verify(signed(presence={"odd": odd})).presence)


# ---- a fresh token -------------------------------------------------------------------------------


def test_a_fresh_token_must_be_valid_and_the_same_users_but_the_old_one_still_holds():
    assert verifier().renew(signed(), "alice").user_id == "alice"
    for token in (signed(sub="eve"), signed(exp=1), "nonsense"):
        with pytest.raises(TokenRefused) as caught:
            verifier().renew(token, "alice")
        assert caught.value.close_code is None

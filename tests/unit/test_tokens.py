"""Which tokens are believed: gateway/tokens.py. ``now`` is the real clock's, as in PyJWT."""

import base64
import hashlib
import hmac
import json
import time
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from prometheus_client import CollectorRegistry

from gateway import tokens
from gateway.core.jwks import read_keys
from gateway.keys import PublishedKeys, make_keys
from gateway.metrics import Metrics
from gateway.tokens import SKEW_SECONDS, TokenVerifier
from shared.errors import TokenRefused, Unauthorized
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


def refusal(token: str, **settings: Any) -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        verifier(**settings).verify(token)
    return caught.value


# ---- algorithms ----------------------------------------------------------------------------------


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

    assert verifier().verify(signed(exp=now - 5)).expires_at == now - 5
    assert refusal(signed(exp=now - 12)).message == "The token has expired"


def test_a_token_is_not_believed_before_its_time():
    now = int(time.time())

    assert verifier().verify(signed(nbf=now + 5, iat=now + 5))
    refusal(signed(nbf=now + 60))
    refusal(signed(iat=now + 60))


@pytest.mark.parametrize("leeway", [0.0, 3.0])
def test_the_leeway_is_the_one_that_is_set(leeway):
    now = int(time.time())

    assert verifier(jwt_leeway_seconds=leeway).verify(signed(exp=now + 2 - leeway))
    refusal(signed(exp=now - 1 - leeway), jwt_leeway_seconds=leeway)
    refusal(signed(nbf=now + 5 + leeway), jwt_leeway_seconds=leeway)


@pytest.mark.parametrize("ahead", [-SKEW_SECONDS, SKEW_SECONDS])
def test_gateways_whose_clocks_are_half_a_minute_off_agree_on_who_may_come_in(
    ahead, monkeypatch: pytest.MonkeyPatch
):
    true = int(time.time())
    monkeypatch.setattr(tokens, "time", SimpleNamespace(time=lambda: true + ahead))
    monkeypatch.setattr(jwt.api_jwt, "datetime", skewed(ahead))

    assert verifier().verify(signed(iat=true, exp=true + 3600))
    assert verifier().verify(signed(iat=true - 60, exp=true + 45))
    assert verifier().verify(signed(exp=true + 86_400))
    assert refusal(signed(exp=true - 45)).message == "The token has expired"


def skewed(ahead: float) -> type[datetime]:
    """The class that PyJWT asks for the time."""

    class Skewed(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(seconds=ahead)

    return Skewed


def test_a_token_that_lives_for_more_than_a_day_is_refused():
    now = int(time.time())

    assert verifier().verify(signed(iat=now - 60, exp=now - 60 + 86_400))
    assert verifier().verify(signed(exp=now + 86_400))
    for longer in ({"iat": now, "exp": now + 86_401}, {"exp": now + 86_500}, {"exp": 1e20}):
        assert refusal(signed(**longer)).details == {"claim": "exp"}


def test_the_longest_life_is_the_one_that_is_set():
    now = int(time.time())

    for life in (60, 10**6):
        token = signed(iat=now, exp=now + life)
        assert verifier(jwt_max_life_seconds=life).verify(token)
        refusal(token, jwt_max_life_seconds=life - 1)
    assert verifier(jwt_max_life_seconds=0).verify(signed(iat=0, exp=10**12))


@pytest.mark.parametrize("iat", ["soon", [], {}, None, float("inf"), float("nan"), -1e300, 1e300])
def test_a_beginning_that_is_no_time_or_long_ago_is_refused(iat):
    payload = {"sub": "alice", "exp": int(time.time()) + 3600, "iat": iat}
    refusal(by_hand({"alg": "HS256"}, payload, SECRET.encode()))


def test_the_type_must_be_the_one_that_is_set():
    def typed(**header: Any) -> str:
        return by_hand({"alg": "HS256", **header}, claims(), SECRET.encode())

    for right in ("at+jwt", "AT+JWT", "application/at+jwt"):
        assert verifier(jwt_type="at+jwt").verify(typed(typ=right))
    for wrong in ({"typ": "JWT"}, {"typ": "id+jwt"}, {"typ": ""}, {"typ": ["at+jwt"]}, {}):
        refusal(typed(**wrong), jwt_type="at+jwt")
    assert verifier().verify(typed(typ="anything"))


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

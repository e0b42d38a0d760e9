"""Which tokens are believed: gateway/tokens.py. ``now`` is the real clock's, as in PyJWT."""

import json
import time
from contextlib import suppress
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import jwt
import pytest

from gateway import tokens
from gateway.tokens import SKEW_SECONDS
from shared.errors import TokenRefused, Unauthorized
from tests.unit.token_builders import (
    SECRET,
    by_hand,
    claims,
    signed,
    verifier,
)


def refusal(token: str, **settings: Any) -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        verifier(**settings).verify(token)
    return caught.value


def test_a_changed_token_is_refused():
    head, _, signature = signed().split(".")
    _, payload, _ = signed(sub="eve").split(".")

    refusal(f"{head}.{payload}.{signature}")


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

"""Which settings say by what tokens are checked, and which are too weak: shared/token_keys.py."""

import pytest

from shared import settings
from shared.settings import WrongSettings, load
from tests.unit.test_settings import PRODUCTION, problems
from tests.unit.token_builders import CURVE as CURVE_KEY
from tests.unit.token_builders import PEM as RSA
from tests.unit.token_builders import pem

CURVE = pem(CURVE_KEY)


def test_two_keys_are_one_too_many():
    url = "https://id.example.com/keys"
    assert problems(REALTIME_JWT_PUBLIC_KEY=RSA) == ["REALTIME_JWT_SECRET"]
    assert problems(REALTIME_JWT_JWKS_URL=url) == ["REALTIME_JWT_SECRET"]
    assert problems(
        REALTIME_JWT_SECRET="", REALTIME_JWT_PUBLIC_KEY=RSA, REALTIME_JWT_JWKS_URL=url
    ) == ["REALTIME_JWT_PUBLIC_KEY"]


def test_a_public_key_goes_with_no_symmetric_algorithm():
    given = {**PRODUCTION, "REALTIME_JWT_SECRET": "", "REALTIME_JWT_PUBLIC_KEY": RSA}

    assert load({**given, "REALTIME_JWT_ALGORITHMS": "RS512, PS256"}).jwt_algorithms == [
        "RS512",
        "PS256",
    ]
    with pytest.raises(WrongSettings, match="REALTIME_JWT_ALGORITHMS: HS256 cannot be used"):
        load({**given, "REALTIME_JWT_ALGORITHMS": "HS256"})


def test_a_public_key_goes_with_the_algorithms_of_its_type():
    by_curve = {"REALTIME_JWT_SECRET": "", "REALTIME_JWT_PUBLIC_KEY": CURVE}

    assert problems(**by_curve) == ["REALTIME_JWT_ALGORITHMS"]
    assert problems(**by_curve, REALTIME_JWT_ALGORITHMS="ES384") == ["REALTIME_JWT_ALGORITHMS"]
    assert load({**PRODUCTION, **by_curve, "REALTIME_JWT_ALGORITHMS": "ES256"})


@pytest.mark.parametrize("mode", ["production", "development"])
def test_a_public_key_that_is_none_is_named(mode):
    assert problems(
        REALTIME_MODE=mode, REALTIME_JWT_SECRET="", REALTIME_JWT_PUBLIC_KEY=RSA[:99]
    ) == ["REALTIME_JWT_PUBLIC_KEY"]


@pytest.mark.parametrize(
    ("algorithms", "needed"), [("HS256", 32), ("HS384", 48), ("HS512", 64), ("HS256, HS512", 64)]
)
def test_a_secret_must_be_long_enough_for_the_strongest_algorithm(algorithms, needed):
    secret = "".join(chr(33 + number * 7 % 90) for number in range(needed))
    given = {"REALTIME_JWT_ALGORITHMS": algorithms, "REALTIME_MODE": "development"}

    assert load({**PRODUCTION, **given, "REALTIME_JWT_SECRET": secret})
    with pytest.raises(WrongSettings, match=f"REALTIME_JWT_SECRET: .* {needed} bytes"):
        load({**PRODUCTION, **given, "REALTIME_JWT_SECRET": secret[:-1]})


def test_a_weak_secret_is_good_enough_for_development():
    weak = {"REALTIME_JWT_SECRET": "s" * 32}

    assert load({"REALTIME_MODE": "development", **weak}).jwt_secret == "s" * 32


@pytest.mark.parametrize(
    ("url", "modes"),
    [
        ("https://id.example.com/.well-known/jwks.json", ["production", "development"]),
        ("http://localhost:8000/jwks", ["development"]),
        ("http://127.0.0.1/jwks", ["development"]),
        ("http://[::1]:1/jwks", ["development"]),
        ("http://id.example.com/jwks", []),
        ("http://localhost.example.com/jwks", []),
        ("http://127.0.0.1.example.com/jwks", []),
        ("https://user:secret@id.example.com/jwks", []),
        ("https://id.example.com/jwks#it", []),
        ("file:///etc/passwd", []),
        ("ftp://id.example.com/jwks", []),
        ("data:application/json,{}", []),
        ("https:///jwks", []),
        ("https://[::1", []),
        ("jwks.json", []),
    ],
)
def test_keys_are_fetched_over_https_alone_but_from_this_machine_in_development(url, modes):
    for mode in ("production", "development"):
        given = {"REALTIME_MODE": mode, "REALTIME_JWT_SECRET": "", "REALTIME_JWT_JWKS_URL": url}
        if mode in modes:
            assert load({**PRODUCTION, **given}).jwt_algorithms == ["RS256"]
        else:
            assert problems(**given) == ["REALTIME_JWT_JWKS_URL"]


def test_no_secret_is_made_for_development_where_an_issuer_has_keys(monkeypatch):
    monkeypatch.delattr(settings, "development_secret")
    url = "http://localhost/jwks"

    assert not load({"REALTIME_MODE": "development", "REALTIME_JWT_JWKS_URL": url}).jwt_secret

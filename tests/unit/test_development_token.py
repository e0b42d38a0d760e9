"""What `realtime token` makes: standalone/tokens.py."""

import os

import jwt
import pytest

from shared.settings import WrongSettings
from standalone.tokens import development_token
from tests.unit.token_builders import PEM, verifier

SECRET = "the secret of these tests, which opens nothing"


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let nothing be set but a secret, and what the test sets."""
    for name in [one for one in os.environ if one.startswith("REALTIME_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("REALTIME_JWT_SECRET", SECRET)
    return monkeypatch


def test_a_token_is_one_that_the_service_believes(settings):
    settings.setenv("REALTIME_JWT_TYPE", "at+jwt")

    token = development_token("alice", 86_400)

    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    assert verifier(jwt_secret=SECRET, jwt_type="at+jwt").verify(token).user_id == "alice"


def test_no_token_is_made_that_lives_for_longer_than_the_service_believes(settings):
    with pytest.raises(WrongSettings, match="REALTIME_JWT_MAX_LIFE_SECONDS"):
        development_token("alice", 86_401)
    settings.setenv("REALTIME_JWT_MAX_LIFE_SECONDS", "0")
    assert development_token("alice", 86_401)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REALTIME_JWT_PUBLIC_KEY", PEM),
        ("REALTIME_JWT_JWKS_URL", "https://id.example.com/keys"),
    ],
)
def test_without_the_secret_no_token_can_be_made(settings, variable, value):
    settings.delenv("REALTIME_JWT_SECRET")
    settings.setenv(variable, value)

    with pytest.raises(WrongSettings, match=f"{variable}: a public key cannot sign"):
        development_token("alice")

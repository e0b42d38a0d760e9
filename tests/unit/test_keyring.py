"""What an issuer's keys are good for, and when to ask for them again: gateway/core/keyring.py."""

import pytest

from gateway.core.jwks import VerificationKey
from gateway.core.keyring import (
    FIRST_SECONDS,
    KEEP_SECONDS,
    REFRESH_SECONDS,
    RETRY_SECONDS,
    Keyring,
    Pause,
)
from shared.errors import KeysUnavailable, Unauthorized

OLD, NEW = VerificationKey("old", ["RS256"]), VerificationKey("new", ["RS256"])


def ring() -> Keyring:
    """One that was told the old key at 0."""
    found = Keyring()
    found.replace({"old": OLD}, 0.0)
    return found


def test_before_the_first_answer_nothing_is_known():
    empty = Keyring()

    assert not empty.filled
    with pytest.raises(KeysUnavailable):
        empty.find("old", 0.0)
    assert empty.pause(0.0) == Pause(FIRST_SECONDS, FIRST_SECONDS)


def test_a_known_key_is_found_without_the_issuer_for_more_than_an_hour():
    assert KEEP_SECONDS >= 3600 + REFRESH_SECONDS
    assert ring().find("old", KEEP_SECONDS - 1) == OLD
    with pytest.raises(KeysUnavailable):
        ring().find("old", KEEP_SECONDS)


def test_an_unknown_key_is_refused_if_the_issuer_has_just_answered_and_else_must_be_asked_for():
    with pytest.raises(Unauthorized):
        ring().find("new", RETRY_SECONDS - 1)
    for later in (RETRY_SECONDS, KEEP_SECONDS, 10 * KEEP_SECONDS):
        with pytest.raises(KeysUnavailable):
            ring().find("new", later)
    with pytest.raises(Unauthorized):
        ring().find(None, 1.0)


def test_what_the_issuer_says_replaces_what_it_has_said():
    found = ring()

    assert found.replace({"new": NEW}, 300.0)
    assert not found.replace({"new": NEW}, 600.0)
    assert found.find("new", 600.0) == NEW
    with pytest.raises(Unauthorized):
        found.find("old", 600.0)


def test_the_issuer_is_asked_every_five_minutes_and_never_twice_in_half_a_minute():
    assert (REFRESH_SECONDS, RETRY_SECONDS) == (300.0, 30.0)
    assert ring().pause(0.0) == Pause(least=30.0, most=300.0)


def test_an_issuer_that_does_not_answer_is_asked_again_after_half_a_minute():
    assert ring().pause(300.0) == Pause(least=30.0, most=30.0)

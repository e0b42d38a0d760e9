"""Which secrets could be guessed: shared/secrecy.py."""

import base64
import secrets
import uuid

import pytest

from shared.secrecy import weakness


@pytest.mark.parametrize(
    "weak",
    [
        "s" * 64,
        "ab" * 32,
        "changeme" * 8,
        "please-change-me-in-production-0123",
        "change_this_to_a_long_random_value!",
        "your-256-bit-secret-your-256-bit-secret",
        "a-string-secret-at-least-256-bits-long",
        "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
        "my-super-secret-key-that-nobody-knows",
        "Pa$$word Password Password Password!",
        "0123456789abcdef0123456789abcdef",  # pragma: allowlist secret
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "98765432109876543210987654321098765",
        "q8Zr1!xTq8Zr1!xTq8Zr1!xTq8Zr1!xTq8Zr1!xT",
        "\x00" * 64,
    ],
)
def test_a_secret_that_anybody_could_think_of_is_weak(weak):
    assert weakness(weak)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: secrets.token_urlsafe(48),
        lambda: secrets.token_hex(16),
        lambda: secrets.token_hex(32),
        lambda: base64.b64encode(secrets.token_bytes(24)).decode(),
        lambda: uuid.uuid4().hex,
    ],
)
def test_a_secret_that_was_drawn_is_not(draw):
    assert [one for one in (draw() for _ in range(500)) if weakness(one)] == []


def test_a_phrase_of_ones_own_is_taken():
    assert weakness("correct-horse-battery-staple-correct") is None

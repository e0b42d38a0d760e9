"""When a message was minted, as its id tells: shared/messages/minted.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from shared.messages.minted import age_seconds, minted_ms


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_an_id_tells_the_moment_that_its_ulid_was_made_with(moment_ms, random):
    ulid = ULID.from_bytes(moment_ms.to_bytes(6, "big") + random)

    assert minted_ms(f"broadcast_{ulid}") == moment_ms


@pytest.mark.parametrize("message_id", ["", "broadcast_1", "broadcast_" + "!" * 26, "ü" * 26])
def test_what_holds_no_ulid_tells_nothing(message_id):
    assert minted_ms(message_id) is None
    assert age_seconds(message_id, 1) is None


def test_an_age_is_in_seconds_and_never_negative():
    message_id = f"dm_{ULID.from_timestamp(1000.0)}"

    assert age_seconds(message_id, 1_002_500) == 2.5
    assert age_seconds(message_id, 999_000) == 0

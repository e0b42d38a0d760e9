"""PURE: when a message was minted, as its id tells."""

ULID_LENGTH, TIME_LENGTH = 26, 10
_AS_BASE_32 = bytes.maketrans(
    b"0123456789ABCDEFGHJKMNPQRSTVWXYZ",  # pragma: allowlist secret
    b"0123456789abcdefghijklmnopqrstuv",  # pragma: allowlist secret
)


def minted_ms(message_id: str) -> int | None:
    """Return the moment inside an id such as ``broadcast_<ulid>``, in Unix milliseconds.

    None if there is none: announcements of presence have no id.
    """
    ulid = message_id[-ULID_LENGTH:]
    if len(ulid) < ULID_LENGTH:
        return None
    try:
        return int(ulid[:TIME_LENGTH].encode().translate(_AS_BASE_32), 32)
    except ValueError:
        return None


def age_seconds(message_id: str, now_ms: int) -> float | None:
    """Return how old a message is; 0 if its id is ahead of this clock, None if it tells nothing."""
    minted = minted_ms(message_id)
    return None if minted is None else max(0, now_ms - minted) / 1000

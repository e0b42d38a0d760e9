"""What a payload is, and so how clients are shown it."""

from enum import IntEnum


class Form(IntEnum):
    """The form of a message."""

    JSON = 0
    """The payload is the sender's JSON value."""

    PRESENCE = 1
    """The payload is the whole ``data`` of a Presence."""

    NOTIFICATION = 2
    """The payload is the whole ``data`` of a Notification."""

"""What a payload is, and so how clients are shown it."""

from enum import IntEnum


class Form(IntEnum):
    """The form of a message. From ``0x81`` on it is the type byte of the binary format (B3)."""

    JSON = 0
    """The payload is the sender's JSON value."""

    PRESENCE = 1
    """The payload is the whole ``data`` of a Presence."""

    NOTIFICATION = 2
    """The payload is the whole ``data`` of a Notification."""

    BROADCAST = 0x81
    DIRECT_MESSAGE = 0x82
    FILE_TRANSFER = 0x83
    STREAM_DATA = 0x84
    """The payload is the sender's bytes, and the metadata what else the header is to say."""

    @property
    def is_binary(self) -> bool:
        """Whether the payload is bytes that only clients understand."""
        return self >= Form.BROADCAST

    @property
    def word(self) -> str:
        """What a binary form is called in JSON (B2)."""
        return self.name.lower()

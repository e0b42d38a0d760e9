"""Envelopes to bytes and back. MessagePack, so that payloads stay opaque bytes."""

from typing import Any, TypeVar

import msgspec

from shared.errors import ServiceError
from shared.messages.answers import Answer
from shared.messages.deliveries import (
    DeliveryBatch,
    DirectDelivery,
    Dismissal,
    ReplayEnded,
    SettleAsked,
    SubscribersWanted,
    TopicDelivery,
)
from shared.messages.envelopes import CommandBatch, PresenceCommand, RouterCommand
from shared.messages.news import News
from shared.messages.records import Landmark, LogBatch, Record

Target = TypeVar("Target")


class Undecodable(ServiceError):
    """These bytes are no envelope of ours."""


def _decoder(kind: Any) -> "msgspec.msgpack.Decoder[Any]":
    return msgspec.msgpack.Decoder(kind)


COMMAND_BATCH: "msgspec.msgpack.Decoder[CommandBatch]" = _decoder(CommandBatch)
DELIVERY_BATCH: "msgspec.msgpack.Decoder[DeliveryBatch]" = _decoder(DeliveryBatch)
ROUTER_COMMAND: "msgspec.msgpack.Decoder[RouterCommand]" = _decoder(RouterCommand)
PRESENCE_COMMAND: "msgspec.msgpack.Decoder[PresenceCommand]" = _decoder(PresenceCommand)
TOPIC_DELIVERY: "msgspec.msgpack.Decoder[TopicDelivery | ReplayEnded | SubscribersWanted]" = (
    _decoder(TopicDelivery | ReplayEnded | SubscribersWanted)
)
DIRECT_DELIVERY: "msgspec.msgpack.Decoder[DirectDelivery | SettleAsked | Dismissal]" = _decoder(
    DirectDelivery | SettleAsked | Dismissal
)
ANSWERS: "msgspec.msgpack.Decoder[list[Answer]]" = _decoder(list[Answer])
LOG_BATCH: "msgspec.msgpack.Decoder[LogBatch]" = _decoder(LogBatch)
RECORD: "msgspec.msgpack.Decoder[Record]" = _decoder(Record)
LANDMARK: "msgspec.msgpack.Decoder[Landmark]" = _decoder(Landmark)
NEWS: "msgspec.msgpack.Decoder[News]" = _decoder(News)

_encoder = msgspec.msgpack.Encoder()

encode = _encoder.encode
"""Return any envelope, batch or list of envelopes as bytes."""


def decode(body: bytes, decoder: "msgspec.msgpack.Decoder[Target]") -> Target:
    """Return what the bytes say.

    Raises:
        Undecodable: they do not fit the decoder's type.
    """
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(str(error)) from error


def join(packed: list[bytes]) -> bytes:
    """Return one MessagePack list of envelopes that are bytes already."""
    return encode([msgspec.Raw(item) for item in packed])

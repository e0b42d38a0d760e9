"""Gateways tell each other what their users ask for of the rate that all of them share (W14)."""

import asyncio
import time

import structlog

from gateway.core.limits import TELL_SECONDS, UserShares
from shared.broker import topology
from shared.broker.ports import Channel
from shared.cancellation import heed_cancellation
from shared.errors import BrokerUnavailable, Unroutable
from shared.messages import codec
from shared.messages.envelopes import Sender
from shared.messages.news import Usage

log = structlog.get_logger()


async def tell_usage(users: UserShares, sender: Sender, publisher: Channel) -> None:
    """Tell the other gateways, for ever. What cannot be told is given up: it is soon of no use."""
    to = topology.fanout_address(topology.AMONG_GATEWAYS)
    while True:
        await asyncio.sleep(TELL_SECONDS)
        if not (asked := users.tell(time.monotonic())):
            continue
        try:
            await publisher.publish(codec.encode(Usage(sender, asked)), to)
        except Unroutable:  # there is no other gateway
            pass
        except BrokerUnavailable as error:
            heed_cancellation()
            log.warning("usage not told", action="usage", error=str(error))

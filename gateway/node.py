"""What all conversations of one gateway share."""

import asyncio
from dataclasses import dataclass

from gateway.answers import Answers
from gateway.connection import Connection, Hooks
from gateway.core.admission import Admission
from gateway.core.connections import Connections
from gateway.core.limits import Limits
from gateway.core.mint import Mint
from gateway.core.subscriptions import Subscriptions
from gateway.directs import Directs
from gateway.fanout import Fanout
from gateway.keys import Keys
from gateway.membership import Membership
from gateway.metrics import Metrics
from gateway.questions import Questions
from gateway.tls import Certificate
from gateway.tokens import TokenVerifier
from gateway.uplink import Uplink
from shared.broker.ports import Broker
from shared.settings import Settings
from shared.trail import Trail


@dataclass(frozen=True)
class Node:
    """One gateway."""

    settings: Settings
    broker: Broker
    keys: Keys
    verifier: TokenVerifier
    certificate: Certificate | None
    admission: Admission
    turnstile: asyncio.Lock
    """Lets one in at a time, so that others are heard in between."""

    limits: Limits
    subscriptions: Subscriptions[Connection]
    connections: Connections[Connection]
    hooks: Hooks
    uplink: Uplink
    fanout: Fanout
    directs: Directs
    answers: Answers
    membership: Membership
    questions: Questions
    metrics: Metrics
    mint: Mint
    trail: Trail

    @property
    def ready(self) -> bool:
        """Whether it is a member of the cluster, and can check tokens."""
        return self.membership.ready and self.keys.ready

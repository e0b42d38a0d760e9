"""What clients and back ends ask the owners, and how the answers of several are put together."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from ulid import ULID

from gateway.answers import RECEIPT_SECONDS, Answers
from gateway.core.tally import Tally
from gateway.membership import Membership
from gateway.uplink import Uplink
from shared.errors import OutcomeUnknown
from shared.messages.answers import Erased, HistoryPage, People, Seen
from shared.messages.envelopes import DisconnectUser, EraseUser, HistoryAsked, SubscribersAsked


@dataclass(frozen=True)
class Questions:
    """Asks, and waits for all that is to be said.

    Each method raises BrokerUnavailable if nothing was asked, and OutcomeUnknown if an owner did
    not answer in time.
    """

    membership: Membership
    uplink: Uplink
    answers: Answers

    async def history(self, asked: HistoryAsked) -> HistoryPage:
        """Return a page of a topic's history (H1)."""
        self.membership.require_ready()
        self.uplink.ask_history(asked)
        page = await self.answers.one(asked.ask)
        if not isinstance(page, HistoryPage):
            raise OutcomeUnknown
        return page

    async def people(self, users: Iterable[str]) -> tuple[list[Seen], bool]:
        """Return how users are to be seen, in the order asked, and whether that is all of it."""
        self.membership.require_ready()
        asked = list(dict.fromkeys(users))
        asks = self.uplink.ask_people(f"people_{ULID()}", asked)
        found = await asyncio.gather(*map(self.answers.one, asks))
        answers = [one for one in found if isinstance(one, People)]
        seen = {person.user_id: person for one in answers for person in one.people}
        return [seen[user_id] for user_id in asked], all(one.complete for one in answers)

    async def subscribers(self, topic: str) -> Tally:
        """Return who is subscribed to a topic, node by node (P3)."""
        self.membership.require_ready()
        asked = SubscribersAsked(f"subscribers_{ULID()}", topic)
        self.uplink.ask_subscribers(asked)
        return await self.answers.collect(asked.ask, RECEIPT_SECONDS)

    async def disconnect(self, user_id: str, *, revoke_ms: int = 0) -> Tally:
        """End all connections of a user; the tally's recipients are those that were ended.

        With ``revoke_ms`` those, and all to come, whose tokens were not issued after that moment.
        """
        self.membership.require_ready()
        command = DisconnectUser(f"disconnect_{ULID()}", user_id, revoke_ms)
        self.uplink.disconnect(command)
        return await self.answers.collect(command.ask, RECEIPT_SECONDS)

    async def erase(self, user_id: str) -> int:
        """Drop all that is kept of a user everywhere; return how many messages that were."""
        self.membership.require_ready()
        asks = self.uplink.erase(EraseUser(f"erase_{ULID()}", user_id))
        found = await asyncio.gather(*map(self.answers.one, asks))
        return sum(one.messages for one in found if isinstance(one, Erased))

"""What this node reports of what it was given, to whoever waits for that."""

from gateway.answers import Answers
from shared.broker.batching import Packer
from shared.messages import codec
from shared.messages.answers import DirectReceipt, Receipt, Subscribers


class Receipts:
    """Reports at once to who waits here, and to other nodes by the broker."""

    def __init__(self, answers: Answers, packer: Packer) -> None:
        self._answers = answers
        self._packer = packer

    def report(self, to: str, receipt: Receipt | DirectReceipt | Subscribers) -> None:
        """Report; ``to`` is the queue that was named with the question, empty if none is wanted."""
        if to and not self._answers.take(receipt):
            self._packer.add(to, codec.encode(receipt))

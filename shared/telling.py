"""Answers what operators ask every process."""

from shared.broker import topology
from shared.broker.batching import Packer
from shared.messages import codec
from shared.messages.news import TrailAsked
from shared.trail import Trail


def tell(asked: TrailAsked, trail: Trail, answers: Packer) -> None:
    """Tell what is remembered of a message; to no queue but those of operators and their like."""
    if topology.is_news(asked.report_to):
        answers.add(asked.report_to, codec.encode(trail.told(asked.message_id)))

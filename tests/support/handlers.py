"""Handlers that worker processes of the tests run."""

import asyncio
import os
from pathlib import Path

from extensions import Ask, ExtensionError, extension


def note(number: int) -> None:
    with Path(os.environ["TESTS_DONE"]).open("a") as done:
        done.write(f"{number}\n")


@extension("X-Work")
async def work(ask: Ask) -> object:
    """Note the number in the file of the tests, unless this process is one that hangs."""
    if os.environ.get("TESTS_HANG"):
        await asyncio.Event().wait()
    note(ask.data["number"])
    return {"number": ask.data["number"], "by": os.environ["REALTIME_NODE_ID"]}


@extension("X-Refuse")
async def refuse(ask: Ask) -> object:
    raise ExtensionError(409, "Already done", order=ask.data["order"])

"""A trap of asyncio: a task that is told to end may never hear of it."""

import asyncio


def heed_cancellation() -> None:
    """Raise the CancelledError that another error has displaced.

    A task that waits for several publishes at once, and is cancelled in the moment in which one
    of them fails, is given that failure instead. A loop that takes such a failure for a reason to
    try again would go on for ever.

    Not for a task that runs a ``TaskGroup`` itself: before Python 3.13 it seems to be told to end
    whenever one of its children fails. Such a group gets a task of its own.

    Raises:
        CancelledError: this task was told to end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError

"""How long the disk takes to have something for good: RabbitMQ's quorum queues wait for that."""

import os
import time
from tempfile import NamedTemporaryFile


def sync_times_ms(*, rate: float, count: int, size: int) -> list[float]:
    """Append so many times to a file; return how long each took to be on disk, in order of length.

    The file is where private RabbitMQs have theirs.
    """
    took = []
    with NamedTemporaryFile() as file:
        for _ in range(count):
            began = time.monotonic()
            os.write(file.fileno(), bytes(size))
            os.fdatasync(file.fileno())
            took.append((time.monotonic() - began) * 1e3)
            # What is measured comes at a rate: a disk that is never idle answers otherwise.
            time.sleep(max(0.0, began + 1 / rate - time.monotonic()))
    return sorted(took)

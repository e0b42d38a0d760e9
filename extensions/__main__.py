"""``python -m extensions``: a worker over RabbitMQ for ``REALTIME_EXTENSIONS``."""

from extensions.app import serve
from shared.process.run import run

if __name__ == "__main__":
    run("worker", serve)

"""Which release this process runs, as ``/cluster`` and ``realtime cluster`` show it."""

from importlib.metadata import version

RELEASE = version("realtime-service")

"""The unit storey needs no fixtures; only hypothesis must not mistake a busy machine for a bug."""

from hypothesis import settings

settings.register_profile("unit", deadline=None)
settings.load_profile("unit")

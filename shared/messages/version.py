"""The version of the envelopes: raised when a release tells something in another way than before.

Adding fields and tags does not raise it; docs/upgrades.md tells what a release may change.
"""

ENVELOPE_VERSION = 1
"""Also what is meant by whoever does not say: releases before the first one that said it."""

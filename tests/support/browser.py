"""A Chromium for the tests, from wherever there is one."""

import shutil

from tests.support.debian import install

NAMES = ("chromium", "chromium-browser", "google-chrome")

FLAGS = (
    "--no-sandbox",  # as root it starts in no other way
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str | None:
    """Return the path of a browser, installed if need be; None if none can be had."""
    return _found() or (_found() if install("chromium") else None)


def _found() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)

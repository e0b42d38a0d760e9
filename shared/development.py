"""The secret that signs development tokens: made once for a checkout, kept out of git."""

import os
import secrets
from pathlib import Path


def development_secret() -> str:
    """Return this checkout's secret for development tokens; make it if there is none yet.

    Every process of one checkout, started at the same moment or not, gets the same one.
    """
    path = _state_directory() / "jwt-secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    if not path.exists():
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(48), encoding="ascii")
        try:
            os.link(fresh, path)  # unlike a rename, this never replaces another process's secret
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text(encoding="ascii")


def _state_directory() -> Path:
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").exists():
        return checkout / ".realtime"
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "realtime-service"

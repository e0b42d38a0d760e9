"""An extension to try: see docs/extensions.md."""

from extensions import Ask, ExtensionError, extension


@extension("X-CustomAction")
async def custom_action(ask: Ask) -> object:
    """Say what was asked for, and by whom."""
    if "action" not in ask.data:
        raise ExtensionError(400, "No action", field="action")
    return {"done": ask.data["action"], "for": ask.from_user}

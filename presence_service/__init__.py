"""The presence service: who is where, and what waits for those who are not.

    presence.commands.{p} -> commands.py -> core/directory.py -> direct inbox of each node
                                         -> core/mailbox.py   -> answers of the asking node
                                         -> announcer.py      -> router.commands.{p}

Nothing in core/ awaits. Nothing outside core/ decides.
"""

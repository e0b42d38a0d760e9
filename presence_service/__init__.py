"""The presence service: who is where, and what waits for those who are not.

    presence.commands.{p} -> commands.py -> core/mailbox.py   -> direct queue of each node
                                                              -> answers of the asking node
                             people.py   -> core/directory.py -> presence.log.{p}
                                         -> announcer.py      -> router.commands.{p}
    undelivered           -> undelivered.py                   -> presence.commands.{p}

Nothing in core/ awaits. Nothing outside core/ decides.
"""

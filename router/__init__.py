"""The router: what a topic is wanted by, and what was said on it.

    router.commands.{p} -> commands.py -> core/interest_table.py -> inbox of each concerned node
                                       -> core/plan.py           -> answers of the asking node
                                       -> core/history.py        -> router.log.{p}
                           queries.py  <- core/history.py        -> answers, or inbox for a replay

core/namespaces.py says how long what is kept; core/retention.py holds it within bounds.

Nothing in core/ awaits. Nothing outside core/ decides.
"""

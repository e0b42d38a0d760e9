"""The router: what a topic is wanted by.

    router.commands.{p} -> commands.py -> core/interest_table.py -> inbox of each concerned node
                                       -> core/plan.py           -> answers of the asking node

Nothing in core/ awaits. Nothing outside core/ decides.
"""

"""How one replica at a time serves a partition; the same for the router and the presence service.

leases    PURE: which nodes are alive, counted in heartbeats that came back
effects   PURE: what an owner wants published
reign     one owner's time over one partition: one channel
replica   the connection, the heartbeat, the news, and all reigns of one process
"""

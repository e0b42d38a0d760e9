"""How one replica at a time serves a partition; the same for the router and the presence service.

leases       PURE: which nodes are alive, counted in heartbeats that came back
peers        PURE: which other replicas there are, and what is due to them
effects      PURE: what an owner wants published; what an owner is
owner        PURE: what the owners of both services do alike
idempotency  PURE: what was done under which key
landmark     where a partition stands, in a small queue beside the log
log          what owners write down, and the next one reads; checkpoints
reign        one owner's time over one partition: one channel
seat         a replica's place at one partition: standing by, or reigning
news         what a replica hears of nodes and peers, and says of itself
replica      the connection, the heartbeat, and all seats of one process
"""

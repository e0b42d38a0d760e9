"""PURE: what a client may do, what its frames mean, who on this node wants what."""

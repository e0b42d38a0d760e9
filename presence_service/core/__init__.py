"""PURE: where every user is, how they are seen, and the messages that wait for them."""

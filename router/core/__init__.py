"""PURE: who wants what, and whom a broadcast goes to."""

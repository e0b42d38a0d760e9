"""All three services in one process, and the `realtime` command line."""

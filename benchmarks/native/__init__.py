"""The native programs of the benchmark: the load, and the physical limit."""

"""What every process does alike: start, say when it is ready, stop; health, metrics, logs."""

"""PURE: what a topic and a pattern are, and which patterns a topic meets."""

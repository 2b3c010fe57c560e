"""Time and memory, against a lower bound or a peer within one run."""

"""One training step in bounded memory, several ways: plain, recomputing, streamed."""

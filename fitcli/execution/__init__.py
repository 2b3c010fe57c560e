"""Runs one training step in bounded memory, in one of several ways: plain, recomputing, streamed."""

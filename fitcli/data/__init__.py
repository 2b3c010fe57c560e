"""Data sets and batches: which images, which part of each, joined and read ahead."""

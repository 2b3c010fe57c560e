"""Readers and writers of image files: paths and numpy arrays, no torch."""

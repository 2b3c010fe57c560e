"""Paths and pixels, numpy alone: readers and writers of image files."""

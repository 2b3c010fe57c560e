"""Encodes an open image of any size: shared by all tasks with an encoder."""

"""Compares generated images with real ones: sets of crops, without any network that was trained elsewhere."""

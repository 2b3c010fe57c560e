"""Data sets and batches: images are listed, surveyed, read ahead at random places, and joined."""

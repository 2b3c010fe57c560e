"""Scores a run on the images of a data set."""

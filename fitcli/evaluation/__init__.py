"""Scores a run on the images of a data set, image by image, by asking the task of the run."""

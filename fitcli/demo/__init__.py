"""The synthetic data set of `fit demo`."""

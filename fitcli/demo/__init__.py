"""Makes the synthetic data set of `fit demo`."""

"""Makes the synthetic data sets of `fit demo`."""

"""A run folder: config.json, weights, targets and the settings that the run was started with."""

"""Executions of one training step, with the same loss and gradients, that trade memory for time."""

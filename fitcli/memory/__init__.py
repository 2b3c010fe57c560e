"""Estimates the memory of training steps and passes, and chooses executions that fit a budget."""

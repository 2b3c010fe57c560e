"""Sampling from an autoregressive decoder: one token after the other, nothing computed twice."""

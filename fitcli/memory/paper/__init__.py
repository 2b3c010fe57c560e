"""Computes the bytes and operations of a training step by arithmetic, layer by layer: a step on paper."""

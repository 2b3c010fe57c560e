"""Runs one job on several processes: they connect, exchange messages and tensors, fail together, or share a queue."""

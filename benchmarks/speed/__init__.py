"""Time and memory of `fit`, against bounds and other models."""

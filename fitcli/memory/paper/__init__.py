"""A training step on paper: the bytes and operations of every layer, by arithmetic."""

"""Decodes token ids one after another, with a cache of keys and values."""

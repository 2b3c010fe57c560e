"""Token ids from a decoder, one after another, with a cache of keys and values."""

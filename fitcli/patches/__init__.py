"""Between pixels and tensors: grid, cutting, value ranges, background and the order of groups."""

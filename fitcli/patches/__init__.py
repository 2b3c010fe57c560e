"""Turns pixels into patches and back: grid, cutting, value ranges, background and the order of groups."""

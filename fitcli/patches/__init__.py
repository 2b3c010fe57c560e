"""Turns pixels into patches and back: grid, cutting, value ranges, background and the order of groups."""

from fitcli.compatibility import moved

__getattr__ = moved.moved_names(__name__)

"""Trains and runs FIT models on images of any size; `fit` is its command line."""

__version__ = "0.1.0"

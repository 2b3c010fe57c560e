"""The `fit` command line and what it stands on: images, geometry, training, streaming."""

__version__ = "0.1.0"

"""The `fit` command line and what it stands on: images, geometry, streaming, tasks, training."""

from fitcli.compatibility import moved

__version__ = "0.1.0"

moved.install()

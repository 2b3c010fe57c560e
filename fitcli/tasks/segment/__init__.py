"""The task `segment`: the class of every place of an image."""

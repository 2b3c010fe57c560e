"""Several processes: who they are, how they start and fail, what they exchange, and a queue of images."""

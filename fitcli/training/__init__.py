"""The training loop: steps, reports and stopping. It knows tasks by their protocol alone."""

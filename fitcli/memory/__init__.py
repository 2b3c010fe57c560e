"""What a training step or a pass takes, and which execution fits a memory budget."""

"""Files that are there whole or not at all, and where a command may write."""

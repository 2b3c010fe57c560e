"""Files and folders that are published whole or not at all, locks, and checks of where a command may write."""

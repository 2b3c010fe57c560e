"""What a job takes in memory: arithmetic, and what follows from it."""

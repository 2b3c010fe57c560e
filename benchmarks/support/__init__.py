"""What several benchmarks share: test images, models to measure, fresh processes and the file of results."""

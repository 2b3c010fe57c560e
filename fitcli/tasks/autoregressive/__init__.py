"""Images value by value: training, validation, scores and drawing."""

"""What tasks with an answer at every place share."""

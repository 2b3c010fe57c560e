"""One file per task: its model, its loss, its validation. Nothing else in training knows which tasks there are."""

"""An open image of any size through an encoder: what all tasks with an encoder share."""

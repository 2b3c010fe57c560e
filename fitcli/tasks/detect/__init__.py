"""The task `detect`: every object of an image, as a box or a point."""

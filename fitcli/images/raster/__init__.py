"""PNG, JPEG and other files that hold one picture."""

"""Reads PNG, JPEG and other files that hold one picture, and writes PNG and JPEG."""

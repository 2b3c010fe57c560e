"""Reads what the operating system grants this process."""

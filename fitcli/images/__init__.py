"""Paths and pixels. numpy in and out, never torch."""

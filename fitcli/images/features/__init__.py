"""Reads files of features of patches as images whose pixels are the patches."""

"""Kinds of targets of a classifier, one file each: how cells are read, and answers are learned, given and scored."""

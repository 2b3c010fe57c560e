"""Classifies whole images: training, validation, scores and `fit classify`."""

"""Generates images from noise: training, validation, scores and sampling."""

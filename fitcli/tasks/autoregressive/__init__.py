"""Generates images value by value: training, validation, scores and sampling."""

"""Generates images of any size with a diffusion model, stage by stage, and writes them to files."""

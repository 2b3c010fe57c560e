"""Runs one image of any size through a trunk, a few groups at a time: sweeps, token store and journal."""

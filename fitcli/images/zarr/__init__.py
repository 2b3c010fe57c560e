"""Reads plain zarr arrays and OME-Zarr, sharded or not, and writes OME-Zarr."""

"""Reads and writes TIFF: classic and BigTIFF, pyramids, OME-TIFF, SVS and GeoTIFF."""

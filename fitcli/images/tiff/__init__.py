"""TIFF files: classic and BigTIFF, pyramids, OME-TIFF, SVS and GeoTIFF."""

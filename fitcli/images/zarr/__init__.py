"""zarr folders: plain arrays and OME-Zarr, sharded or not."""

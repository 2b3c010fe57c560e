"""Labels of pixels and polygons, in numpy alone."""

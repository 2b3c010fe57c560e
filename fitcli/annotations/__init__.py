"""Labels of pixels from files beside an image: polygons and label images."""

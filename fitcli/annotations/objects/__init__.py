"""Objects of images: reads boxes and points from files of many formats, places them on an image, and writes them."""

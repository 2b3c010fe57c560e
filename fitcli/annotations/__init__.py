"""Labels of the pixels of an image: label images, polygons, and the classes that they name; numpy alone."""

"""Names for parts of fit that other packages add: losses, image formats, presets."""

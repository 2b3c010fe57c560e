"""Changes of the pixels of training images: colour, stain, blur, noise, and channels left out."""

"""Images of any size from a diffusion model: stages, canvases at rest, and the files that result."""

"""Images of any size from a diffusion model: stages, what rests where, output."""

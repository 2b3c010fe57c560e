"""Images of any size from a model: stages and what rests where, for diffusion; output, for both tasks."""

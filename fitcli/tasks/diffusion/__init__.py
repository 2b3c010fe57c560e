"""Images out of noise: training, validation, scores and sampling."""

"""Classes of whole images: training, validation, scores, and `fit classify`."""

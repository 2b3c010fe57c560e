"""How good a trained model is on a data set."""

"""One folder per task, the protocol that they follow and the only list of them."""

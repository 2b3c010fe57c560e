"""The training loop: steps, reports and stopping. It uses tasks through their protocol only."""

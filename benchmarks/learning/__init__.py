"""Models trained from scratch on public data, against simpler models and published figures."""

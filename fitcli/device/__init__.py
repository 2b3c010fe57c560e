"""The device that computes: its choice, precision, CPU features, the compiler, and copies to and from it."""

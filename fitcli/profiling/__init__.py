"""The result of `fit profile-memory`: its subject, rows, table and plot, and the process that measures."""

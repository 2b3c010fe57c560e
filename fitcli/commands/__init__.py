"""One file per command: validate, call, print. No algorithm lives here."""

"""Training: settings, data, objectives, optimizer, loop. Runs anywhere `runtime.py` finds a device; prints nothing."""

"""What resuming a run needs: the run record, saved states and the lock of the run folder."""

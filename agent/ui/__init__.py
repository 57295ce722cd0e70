"""Windows on a run: they read its state and draw it."""

"""Changes to a script: pure functions from text to text."""

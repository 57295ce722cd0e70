"""Where each edit belongs, and the new text: exactly one place or none, all edits or nothing."""

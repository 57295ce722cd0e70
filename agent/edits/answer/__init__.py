"""What a model's answer says: its text without thoughts and wrapping, and the edits it asks for."""

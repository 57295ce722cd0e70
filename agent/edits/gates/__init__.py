"""What is refused before any compute is spent: static checks of the code that an edit leads to."""

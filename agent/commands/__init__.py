"""The command line, by theme. Modules here import nothing heavy before a command runs."""

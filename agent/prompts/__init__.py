"""What a language model is told: a state becomes messages, purely. The words are in .md files beside the code."""

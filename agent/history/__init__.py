"""The record of a run: an append-only journal, and a git repository derived from it."""

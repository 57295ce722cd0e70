"""Measurements of the product itself that users can run."""

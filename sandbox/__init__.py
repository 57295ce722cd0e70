"""Runs untrusted programs under limits and tells, from outside, what became of them.

Knows nothing of `agent`.
"""

"""Attacks on the sandbox, run as trials and judged from outside: `agent bench sandbox`."""

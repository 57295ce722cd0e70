"""Who proposes the next change: one module a search method."""

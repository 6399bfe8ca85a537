"""Held statements: the store, the approvals, the console that shows them."""

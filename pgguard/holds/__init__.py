"""Held statements: what a hold asks for, who has said yes, and how it ends (docs/holds.md)."""

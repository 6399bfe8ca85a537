"""The values all rooms speak of: accesses, facts, context, decisions, refusals.

Nothing here does anything: these are frozen structs, enums and small tables. Imports nothing of pgguard.
"""

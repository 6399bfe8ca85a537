"""The approval of one session's statements, from text to verdict: the way that nothing goes around.

A statement's way: who asks (ticket, account), what the text means (settings, catalog, parser, names), what the rules
say to that (decision, estimate, hold), the audit record, the verdict. Each step may refuse; each refusal is recorded.

# INVARIANT: an Allow leaves `approve` only behind a decision of the rules in force now, and behind its audit record.
"""

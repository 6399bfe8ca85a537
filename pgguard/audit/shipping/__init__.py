"""Shipping the audit elsewhere: to standard output, syslog, and OpenTelemetry collectors.

Theory of operation. Whoever writes the log knows nothing of this. A process of its own (`__main__.py`) follows the
file, with a thread for each target, and keeps for each the position up to which the target has all (`status.py`): so
a slow or dead collector can neither delay a statement, nor take the interpreter's lock from those who judge, nor make
records get lost; it catches up from the file when it is back. Delivery is at least once: what may have been lost with
a connection is sent again, and a record's hash tells who has it already.
"""

"""The reference client's adapter for `skerry conformance client`: JSON lines in, JSON lines out.

skerry conformance client "python -m skerry_client.conformance"
"""

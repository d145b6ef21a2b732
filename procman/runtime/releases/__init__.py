"""Releases: kept in a ledger, deployed, pushed by git, and moved to by the running app."""

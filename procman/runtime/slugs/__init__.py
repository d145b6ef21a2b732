"""Slugs on disk: built, packed, kept, expanded, and copied for each dyno."""

"""Helpers that know nothing of packages or repositories."""

"""Publish files to the distributions directory, scan it and list what it serves."""

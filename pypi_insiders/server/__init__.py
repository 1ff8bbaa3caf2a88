"""The HTTP server of the index, its web pages, and the export as static files."""

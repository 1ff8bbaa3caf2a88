"""The watched repositories: their list, state, tags and held project names."""

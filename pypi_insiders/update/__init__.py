"""One pass over the watched repositories: check, build, publish."""

"""Update the watched repositories: check, fetch, build, publish and upload."""

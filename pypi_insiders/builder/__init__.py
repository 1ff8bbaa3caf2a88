"""From a source tree to distributions."""

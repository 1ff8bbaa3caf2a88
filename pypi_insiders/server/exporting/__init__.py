"""The index as plain files: in a directory, or in an object store."""

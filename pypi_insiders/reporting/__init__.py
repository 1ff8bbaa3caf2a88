"""What users are told about the state of everything."""

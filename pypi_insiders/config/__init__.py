"""What the user sets, and where it is stored."""

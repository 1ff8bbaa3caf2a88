"""What is watched, and what is known of it."""

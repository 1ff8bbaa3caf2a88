"""Report the state of everything: status, details, notifications, JSON."""

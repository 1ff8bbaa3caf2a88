"""Everything that speaks to systemd."""

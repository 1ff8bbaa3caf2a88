"""Depend on private "Insiders" releases by their public name."""

__version__ = "2.0.0"

"""Depend on private "Insiders" releases by their public name."""

__version__ = "0.1.0"

"""Losses, online learning and a training command for spiking networks."""

__version__ = "0.1.0"

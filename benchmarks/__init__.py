"""Measurements beside their bars; each module is a command of its own."""

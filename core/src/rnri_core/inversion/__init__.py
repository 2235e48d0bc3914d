"""Inverters, what they give, and how it is stored."""

"""Measurements of the models and methods in this package, each reproducible from its report alone."""

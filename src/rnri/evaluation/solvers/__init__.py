"""Solvers and inverters, measured at equal network evaluations."""

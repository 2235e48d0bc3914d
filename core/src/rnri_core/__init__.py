"""Inversion of diffusion samplers: fixed-point equations, solvers, sampling steps, inverters."""

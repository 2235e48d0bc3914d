"""Sampling steps as affine maps, guidance, paths between noises."""

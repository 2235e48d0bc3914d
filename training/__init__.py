"""The recipe that made the embedded checkpoints, from nothing."""

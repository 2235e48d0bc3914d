"""From image and prompts to edited image."""

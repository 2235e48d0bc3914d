"""Methods of editing, measured against true targets."""

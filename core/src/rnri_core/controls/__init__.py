"""Controls of an edit that need no model: masks in latents, the start step, and the sampling loop that runs them."""

"""Editing for many at once: an engine that shares one model between threads, and what serves it over HTTP."""

"""Serving: an engine that shares one model between threads, the HTTP API, the live page."""

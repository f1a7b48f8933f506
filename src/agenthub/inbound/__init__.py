"""The doors: what faces the clients."""

"""What changed, and who listens."""

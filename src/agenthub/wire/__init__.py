"""What bytes mean: pure functions between wire formats and values."""

"""The rules: pure machines and values; `now` comes in, chance is a number."""

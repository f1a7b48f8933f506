"""The REST door: `/api`, for the CLI, the dashboard and scripts."""

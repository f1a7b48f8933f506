"""The ground: what faces upstream servers, the database and the clock."""

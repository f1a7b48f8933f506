"""Questions of servers in the middle of a call."""

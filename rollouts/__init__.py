"""Rollouts: episodes played by an agent in an environment, the log that keeps them, and what is measured on them."""

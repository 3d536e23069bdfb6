"""Agents: text in, text out. They know nothing of the environments, only histories of observations and their own actions."""

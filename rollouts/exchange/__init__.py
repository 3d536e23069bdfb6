"""Rollout logs to and from other formats, a file for each; `rollouts.export` and `rollouts.convert` are their command lines."""

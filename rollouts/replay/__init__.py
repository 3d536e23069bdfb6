"""Logged episodes on a terminal: walked through, checked, gone on with. `python -m rollouts.replay LOG_OR_RUN`."""

"""A page of pictures of runs and logs: `python -m rollouts.report`."""

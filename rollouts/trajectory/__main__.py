"""`python -m rollouts.trajectory`: logs made of logs (`rollouts/reshape.py`)."""

from __future__ import annotations

import sys

from rollouts.reshape import main

if __name__ == "__main__":
    main(sys.argv[1:])

"""One measurement in this process: ``python -m metazoo.bench families cartpole`` prints its rows as JSON."""

import json
import os
import sys

from metazoo.bench import GROUPS

if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):  # stay on one core, the last that may be used
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    group, name = sys.argv[1:]
    print(json.dumps(GROUPS[group].measure(name)))

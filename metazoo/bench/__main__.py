"""One measurement in this process: ``python -m metazoo.bench families cartpole`` prints its rows as JSON."""

import json
import sys

from metazoo.bench import GROUPS
from metazoo.bench.timing import stay_on

if __name__ == "__main__":
    stay_on(1)
    group, *what = sys.argv[1:]
    print(json.dumps(GROUPS[group].measure(*what)))

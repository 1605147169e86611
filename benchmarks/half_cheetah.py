"""Speed of ``half_cheetah_dir`` with a policy acting, beside Gymnasium's HalfCheetah-v5 without one, as JSON.

    python benchmarks/half_cheetah.py [PROCESSES]

The same measurement as in ``metazoo bench families``, alone: 40 environments in 2 processes, on as many cores.
"""

import json
import os
import sys


def main(workers: int) -> None:
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # threads that wait for work would take the workers' cores
    from metazoo.bench import host_families
    from metazoo.tasks.mujoco.families import HalfCheetahDir

    print(json.dumps(host_families.measure("half_cheetah_dir", HalfCheetahDir(workers=workers)), indent=2))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)

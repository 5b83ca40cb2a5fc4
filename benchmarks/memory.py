"""Peak memory of a workload, in a process of its own: `python -m benchmarks.memory INDEX ours|torch` prints megabytes.

What counts is the most memory that the process ever held (its resident set), the library itself, the network, gradients,
activations and workspaces included, after three calls: what somebody who runs it needs.
"""

import re
import resource
import subprocess
import sys
from pathlib import Path

CALLS = 3


def peak(index, library, threads):
    """Megabytes, measured in a fresh process."""
    result = subprocess.run([sys.executable, "-m", "benchmarks.memory", str(index), library, str(threads)], capture_output=True,
                            text=True, check=True)
    return float(result.stdout.split()[-1])


if __name__ == "__main__":
    index, library, threads = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    from benchmarks.workloads import ALL
    if library == "torch":
        import torch
        torch.set_num_threads(threads)
    f = getattr(ALL[index], library)("cpu")
    for _ in range(CALLS):
        f()
    status = Path("/proc/self/status")          # getrusage would count the parent's memory, too
    print(int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) / 1024 if status.exists()
          else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20))

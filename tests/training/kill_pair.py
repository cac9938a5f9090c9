"""Train with two processes until one kills itself, then train again with two, in the working directory.

`python -m tests.training.kill_pair EVENT…`: see tests/training/kill_after.py. The launcher is that of torchrun,
with forks of this process instead of new ones: PyTorch and MLflow are imported once.
"""

import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from tests.training.kill_after import train_until

CONFIG = LaunchConfig(
    min_nodes=1,
    max_nodes=1,
    nproc_per_node=2,
    run_id="pair",
    rdzv_backend="c10d",
    rdzv_endpoint="127.0.0.1:0",
    local_addr="127.0.0.1",
    start_method="fork",
    max_restarts=0,
)

if __name__ == "__main__":
    try:
        elastic_launch(CONFIG, train_until)(sys.argv[1:])
    except ChildFailedError as error:
        print(error)
    print("left:", *sorted(path.name for path in Path("artifacts").glob("*.p*t*")), flush=True)
    elastic_launch(CONFIG, train_until)([])

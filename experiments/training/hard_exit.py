"""How a process ends that trained together with others."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def leave(status: int = 0) -> NoReturn:
    """End this process, whose files are written, without finalizing its interpreter.

    FSDP2 and device meshes keep a process group alive, so its threads are not joined when it is
    destroyed. One of gloo's that is about to release the tensors of the last collective waits for the
    GIL, and where that has become the finalizing interpreter's, the process aborts: "terminate called
    without an active exception" (https://github.com/pytorch/pytorch/issues/190489).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import ctypes, resource
from braid.process import protect_memory
protect_memory()
PR_GET_DUMPABLE = 3
print(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE), resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_the_process_leaves_no_core_dump_and_cannot_be_traced() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "0 (0, 0)\n"


COLLECTOR = """
import gc
from braid.process import YOUNG, collect_later, keep_what_is_there
collect_later()
looks = sum(each["collections"] for each in gc.get_stats())
there = [[] for _ in range(100_000)]
print(sum(each["collections"] for each in gc.get_stats()) == looks)
keep_what_is_there()
print(gc.isenabled(), gc.get_freeze_count() > 1000, gc.get_threshold()[0] == YOUNG, len(gc.get_objects()) < 1000)
"""


def test_the_collector_leaves_alone_what_a_started_node_has() -> None:
    done = subprocess.run([sys.executable, "-c", COLLECTOR], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "True\nTrue True True True\n"

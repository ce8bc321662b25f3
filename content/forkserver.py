"""A process that has everything a worker needs in memory, and makes workers by fork: the next one is there at once.

The keeper cannot do it: it has threads. Each request is a message with five descriptors, the worker's channel, its
records, its questions and both ways of its line; the answer is the worker's process id.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from typing import NoReturn

from braid import log as logs
from braid.process import end_with_parent, protect_memory
from content.words import CHANNELS, PID
from content.worker import run_worker


def main(arguments: list[str]) -> NoReturn:
    """Descriptor of the keeper's socket; log format, level and node. Ends with the keeper."""
    number, log_format, level, node = arguments
    logs.configure(logs.LogFormat(log_format), level=level, node=node)
    protect_memory()
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    # Workers that have ended leave nothing to wait for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    end_with_parent()
    gc.collect()
    gc.freeze()
    asked = socket.socket(fileno=int(number))
    while True:
        data, descriptors, _, _ = socket.recv_fds(asked, 64, CHANNELS)
        if not data:
            os._exit(0)
        pid = os.fork()
        if not pid:
            asked.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            code = 1
            try:
                code = run_worker(*(socket.socket(fileno=descriptor) for descriptor in descriptors))
            finally:
                sys.stderr.flush()
                os._exit(code)
        for descriptor in descriptors:
            os.close(descriptor)
        asked.send(PID.pack(pid))


if __name__ == "__main__":
    main(sys.argv[1:])

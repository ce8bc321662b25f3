"""``python -m bench.dns.restart`` (root): DNS nodes that are reloaded and stopped under load.

Reload: dnsperf asks one node 10,000 times a second while the topology file changes to and fro, each change with a
SIGHUP; another client looks at answers, each of which must be wholly of one version. Stop: two nodes stand behind
unbound, which keeps nothing, so that every look-up reaches one of them. Each in turn is stopped with SIGTERM and
started again, while dnsperf asks unbound for names that nobody has asked for, and the node that stays as well.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.dns.load import Unavailable, required
from bench.dns.pair import SERVERS, SHOP, Asker, document, pair, write
from bench.dns.stored import store
from dns.config import TTL_DEGRADED
from topology.vips import vip_for

if TYPE_CHECKING:
    from lab.running import RunningLab

CLIENT, RATE = "client", 10_000
TTLS = (30, 25)
"""Of the two versions of the topology file; ``shop``'s hostname is ``lab``'s in the second one."""
UNBOUND = """
server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: "{folder}/pid"
  interface: 127.0.0.1
  port: 5353
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  module-config: "iterator"
  cache-max-ttl: 0
  cache-max-negative-ttl: 0
  use-syslog: no
  num-queries-per-thread: 4096
  outgoing-range: 8192
remote-control:
  control-enable: no
stub-zone:
  name: "apps.example"
  stub-addr: 10.91.1.53
  stub-addr: 10.91.1.54
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.dns.restart", description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each of the two parts")
    parser.add_argument("--rate", type=int, default=RATE, help="queries per second in all")
    parser.add_argument("--store", action="store_true", help="keep the figures in bench/dns/steering.json")
    options = parser.parse_args()
    with pair() as lab, tempfile.TemporaryDirectory() as directory:
        figures = {
            "SIGHUP under load": reload_under_load(lab, Path(directory), options.seconds, options.rate),
            "SIGTERM of two nodes in turn": stop_under_load(lab, Path(directory), options.seconds, options.rate),
        }
    for name, found in figures.items():
        print(f"{name}: {found}")
        if options.store:
            store(name, found)
    return 0


def reload_under_load(lab: RunningLab, folder: Path, seconds: float, rate: int) -> dict[str, Any]:
    vips = [{str(vip.address) for vip in vip_for(lab.topology, "edge-fra-1", name)} for name in ("shop", "lab")]
    seen, mixed, unanswered = [0, 0], 0, 0
    stop = threading.Event()

    def look() -> None:
        nonlocal mixed, unanswered
        with Asker(lab, CLIENT, timeout=2.0) as asker:
            while not stop.is_set():
                answer = asker.ask(SERVERS["dns-1"])
                if answer is None:
                    unanswered += 1
                    continue
                version = next((n for n in (0, 1) if set(answer.addresses) <= vips[n]), None)
                if version is None or answer.ttls not in ({TTLS[version]}, {TTL_DEGRADED}):
                    mixed += 1
                else:
                    seen[version] += 1
                time.sleep(0.002)

    overflows = {name: _overflows(lab, name) for name in ("dns-1", CLIENT)}
    looking = threading.Thread(target=look)
    load = _dnsperf(lab, SERVERS["dns-1"], 53, [SHOP] * 100, rate, seconds, folder / "shop")
    looking.start()
    changes = 0
    end = time.monotonic() + seconds - 1
    while time.monotonic() < end:
        time.sleep(1.0)
        changes += 1
        write(lab.file, _version(changes % 2))
        lab.kill("dns-1", signal.SIGHUP)
    lost = _lost(load)
    overflows = {name: _overflows(lab, name) - before for name, before in overflows.items()}
    stop.set()
    looking.join()
    write(lab.file, _version(0))
    time.sleep(2.0)
    return {
        "queries": lost["sent"], "lost": lost["lost"], "failed": lost["failed"], "reloads": changes,
        "answers looked at": sum(seen), "of the first version": seen[0], "mixed": mixed, "unanswered": unanswered,
        "dropped at the node's sockets": overflows["dns-1"], "at dnsperf's": overflows[CLIENT],
    }  # fmt: skip


def stop_under_load(lab: RunningLab, folder: Path, seconds: float, rate: int) -> dict[str, Any]:
    configuration = folder / "unbound.conf"
    configuration.write_text(UNBOUND.format(folder=folder))
    # Every look-up under way to a node that has just stopped waits for half a second: unbound keeps a thousand of them.
    through = rate // 20
    names = [f"n{number}.wild.apps.example" for number in range(int(through * seconds * 1.2))]
    asked, direct = [], []
    for stopped, stays in (("dns-1", "dns-2"), ("dns-2", "dns-1")):
        # A new one each time: unbound asks a server that it found dead only now and then for minutes.
        # With 1,024 descriptors it could not keep what waits for a dead server while it looks for another.
        unbound = f"ulimit -n $(ulimit -H -n) && exec {required('unbound', 'unbound')} -d -c {configuration}"
        resolver = lab.popen(CLIENT, ["sh", "-c", unbound], stderr=subprocess.DEVNULL)
        time.sleep(1.0)
        if resolver.poll() is not None:
            raise Unavailable(f"unbound ended with {resolver.returncode} at once")
        try:
            resolved = _dnsperf(lab, "127.0.0.1", 5353, names, through, seconds, folder / "names")
            steady = _dnsperf(lab, SERVERS[stays], 53, [SHOP] * 100, rate - through, seconds, folder / "shop")
            time.sleep(seconds / 4)
            lab.kill(stopped, signal.SIGTERM)
            time.sleep(seconds / 4)
            lab.start(stopped)
            direct.append(_lost(steady))
            asked.append(_lost(resolved))
        finally:
            resolver.terminate()
            resolver.wait(10)
        lab.wait_ready(stopped)
    return {
        "look-ups through unbound": sum(each["sent"] for each in asked),
        "failed": sum(each["failed"] + each["lost"] for each in asked),
        "queries to the node that stays": sum(each["sent"] for each in direct),
        "lost there": sum(each["lost"] for each in direct),
    }


def _overflows(lab: RunningLab, name: str) -> int:
    """UDP datagrams that the kernel dropped in a namespace because a socket's buffer was full."""
    rows = [line.split() for line in lab.exec(name, ["cat", "/proc/net/snmp"]).stdout.splitlines()]
    titles, values = [row for row in rows if row[0] == "Udp:"]
    return int(values[titles.index("RcvbufErrors")])


def _version(number: int) -> dict[str, Any]:
    made = document()
    made["zone"]["ttl"] = TTLS[number]
    if number:
        shop, lab = made["applications"]["shop"], made["applications"]["lab"]
        shop["hostnames"], lab["hostnames"] = lab["hostnames"], shop["hostnames"]
    return made


def _dnsperf(
    lab: RunningLab, server: str, port: int, names: list[str], rate: int, seconds: float, file: Path
) -> subprocess.Popen[str]:
    file.write_text("".join(f"{name} A\n" for name in names))
    command = [required("dnsperf", "dnsperf"), "-s", server, "-p", str(port), "-d", str(file), "-c", "8", "-T", "1"]
    command += ["-q", "4000", "-l", f"{seconds:g}", "-Q", str(rate), "-t", "10"]
    return lab.popen(CLIENT, command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _lost(load: subprocess.Popen[str]) -> dict[str, int]:
    """What was sent, lost, and answered with anything but NOERROR."""
    text, _ = load.communicate(timeout=120)
    counts = [re.search(rf"Queries {word}: +(\d+)", text) for word in ("sent", "completed", "lost")]
    if None in counts:
        raise RuntimeError(f"dnsperf says: {text[-500:]}")
    sent, completed, lost = (int(found[1]) for found in counts if found)
    good = re.search(r"NOERROR (\d+)", text)
    return {"sent": sent, "lost": lost, "failed": completed - (int(good[1]) if good else 0)}


if __name__ == "__main__":
    sys.exit(main())

"""``python -m bench.proxy_lab``: requests through the overlay and a proxy that routes each of them (root).

A lab of one edge, two relays and one gateway. wrk keeps 200 connections for a minute, and asks in turn for paths that
rules send to three servers (nginx); every answer is looked at: its status, that it names the server and the path that
belong together, and its length. ``wrk`` and ``nginx`` are looked for in the path, or named by WRK and NGINX. Results go
to bench/proxy_lab.json.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from bench.machine import described, machine
from bench.proxy import PATHS
from bench.proxy_peers import BODY, errors_of, nginx_file, program
from bench.surge import CLIENT, EDGE, GATEWAY, ORIGIN, document, running, wait
from topology.vips import vip_for

RESULTS = Path(__file__).with_name("proxy_lab.json")
SERVERS = (8001, 8002, 8003)
ADDRESS = "10.93.0.10"
LUA = """
local paths, turn, made, threads = {PATHS}, 0, {}, {}
wrong = 0
function setup(thread) table.insert(threads, thread) end
function init() for i, path in ipairs(paths) do made[i] = wrk.format('GET', path, {Host = 'shop.apps.example'}) end end
function request() turn = turn % #made + 1 return made[turn] end
function response(status, headers, body)
  local server = tonumber(string.sub(body, 1, 1))
  if status ~= 200 or server == nil or body ~= server .. ' ' .. paths[server + 1] .. ' BODY' then wrong = wrong + 1 end
end
function done(summary)
  local all = 0
  for _, thread in ipairs(threads) do all = all + thread:get('wrong') end
  io.write('wrong bodies ' .. all .. '\\n')
end
"""


def topology() -> dict[str, Any]:
    made = document("proxy-lab", relays=2)
    rules = [{"servers": [f"{ADDRESS}:{port}"], "path": path} for port, path in zip(SERVERS, PATHS, strict=True)]
    made["applications"]["shop"] = {
        "hostnames": ["shop.apps.example"],
        "ports": ["tcp/80"],
        "targets": [{"address": ADDRESS, "port": port} for port in SERVERS],
        "target_loss": 1e-4,
        "mode": "proxy",
        "proxy": {"kind": "http", "rules": rules, "access_log": False},
    }
    return made


def main() -> int:
    options = argparse.ArgumentParser(prog="bench.proxy_lab")
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--connections", type=int, default=200)
    chosen = options.parse_args()
    wrk, nginx = program("wrk"), program("nginx")
    if wrk is None or nginx is None:
        print(f"bench: {'wrk' if wrk is None else 'nginx'} is not installed", file=sys.stderr)
        return 1
    with running(topology()) as lab:
        directory = lab.directory
        text = nginx_file(directory, list(SERVERS)).read_text().replace("127.0.0.1:", f"{ADDRESS}:")
        (directory / "nginx.conf").write_text(text)
        words = ", ".join(f"'{path}x'" for path in PATHS)
        (directory / "bodies.lua").write_text(LUA.replace("PATHS", words).replace("BODY", BODY))
        # The lab's own server has the targets' ports.
        lab.kill(ORIGIN)
        servers = lab.popen(ORIGIN, [nginx, "-c", str(directory / "nginx.conf")])
        try:
            vip = vip_for(lab.topology, EDGE, "shop")[0].address
            answers = ["curl", "-sf", "-o", "/dev/null", f"http://{vip}{PATHS[0]}x"]
            wait(lambda: lab.exec(CLIENT, answers, check=False).returncode == 0, 20)
            asked = [wrk, "-t1", f"-c{chosen.connections}", f"-d{chosen.seconds}s", "--latency", "--timeout", "10s"]
            asked += ["-s", str(directory / "bodies.lua"), f"http://{vip}/"]
            done = lab.exec(CLIENT, asked, timeout=chosen.seconds + 60)
            (proxy,) = lab.status(GATEWAY)["proxies"]
        finally:
            servers.terminate()
            servers.wait()
    requests, wrong = re.search(r"(\d+) requests in", done.stdout), re.search(r"wrong bodies (\d+)", done.stdout)
    assert requests is not None, done.stdout
    assert wrong is not None, done.stdout
    percentiles = dict(re.findall(r"(50|99)%\s+([\d.]+\w+)", done.stdout))
    found = {
        "connections": chosen.connections,
        "seconds": chosen.seconds,
        "requests": int(requests[1]),
        "requests_per_second": round(int(requests[1]) / chosen.seconds, 1),
        "errors": errors_of(done.stdout),
        "wrong_bodies": int(wrong[1]),
        "latency": percentiles,
        "by_server": {each["address"]: each["requests"] for each in proxy["servers"]},
        "refused": proxy["refused"],
    }
    RESULTS.write_text(json.dumps({"machine": machine(), "result": found}, indent=2) + "\n")
    print(json.dumps(found, indent=2), described(machine()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The peers: each started in the foreground on one core, with a configuration that does the same and no more."""

import os
import pathlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

BODY = "Hello, World!"
LARGE_BYTES = 1 << 20
START_WAIT_MAX = 10.0


class Server:
    """A running server: its process, its ports, and what it has cost so far."""

    def __init__(self, name, command, core, ports, folder, environment=None):
        self.name = name
        self.ports = ports
        self.log = pathlib.Path(folder) / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(core), *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                # As packaging/portunus.service has it; nginx and HAProxy do not know it.
                env={**os.environ, "MIMALLOC_PURGE_DELAY": "100", **(environment or {})},
            )
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.stop()
            raise

    def _wait_until_it_listens(self):
        end = time.monotonic() + START_WAIT_MAX
        for name, port in self.ports.items():
            while not _listens(name, port):
                if self.process.poll() is not None:
                    raise SystemExit(f"{self.name} ended at its start:\n{self.log.read_text()}")
                if time.monotonic() > end:
                    raise SystemExit(f"{self.name} does not listen on {port}:\n{self.log.read_text()}")
                time.sleep(0.02)

    def processes(self):
        """The server's process and all that descend from it: nginx works in a child."""
        children = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    children.setdefault(_stat(entry.name)[1], []).append(int(entry.name))
                except OSError:
                    continue  # It ended meanwhile.
        found = [self.process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def cpu_seconds(self):
        """User and system time of all its processes, those that have ended included."""
        ticks = 0
        for pid in self.processes():
            ticks += sum(_stat(pid)[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self):
        """Resident memory, pages that several of its processes share counted once (Pss)."""
        total = 0
        for pid in self.processes():
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        return total

    def stop(self):
        for stop_signal in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                # nginx and HAProxy take SIGTERM for: at once. Portunus drains, and nobody is left to wait for.
                self.process.send_signal(stop_signal)
                try:
                    self.process.wait(5)
                except subprocess.TimeoutExpired:
                    continue


def _listens(name, port):
    if name == "h3":
        # Nothing answers to a connection there; but the kernel lists who is bound.
        bound = pathlib.Path("/proc/net/udp").read_text() + pathlib.Path("/proc/net/udp6").read_text()
        return f":{port:04X} " in bound
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _stat(pid):
    """The fields of /proc/PID/stat from the state on, numbers as numbers: [1] is the parent, [11:15] the times."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2:].split()
    return [fields[0], *map(int, fields[1:])]


def free_ports(names):
    """A free port for each name, chosen by the system."""
    sockets = {name: socket.socket() for name in names}
    for each in sockets.values():
        each.bind(("127.0.0.1", 0))
    ports = {name: each.getsockname()[1] for name, each in sockets.items()}
    for each in sockets.values():
        each.close()
    return ports


def make_certificate(folder):
    """An ECDSA P-256 certificate of its own making, the same for every peer."""
    chain, key, both = (folder / name for name in ("chain.pem", "key.pem", "both.pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", key, "-out", chain],
        check=True, capture_output=True,
    )
    both.write_text(chain.read_text() + key.read_text())
    return chain, key, both


def portunus(place, name="portunus", observed=()):
    """`observed`: what of OBSERVED is on; the server has a folder of its own, for its sockets and logs."""
    ports = free_ports(["plain", "tls", "proxied", "proxied_tls", "h3"])
    (place.folder / name / "config").mkdir(parents=True, exist_ok=True)
    config = place.folder / name / "config" / "portunus.toml"
    extra = {"server": "", "log": 'access = "off"\nerrors = "off"', "tables": ""}
    for what in observed:
        for place_of, text in OBSERVED[what].items():
            text = text.format(collector=place.collector)
            # Tables add up; keys of [log] and [server] are one setting's.
            extra[place_of] = extra[place_of] + text if place_of == "tables" else text
    config.write_text(PORTUNUS.format(
        **ports, upstream=place.upstream, chain=place.chain, key=place.key, body=BODY, **extra))
    command = [place.binaries / "portunus", "-c", config, "run"]
    return Server(name, command, place.core, ports, place.folder)


# What a server can be observed by, as it is written into its bindings file: keys of [server], keys of [log], tables of its own.
# Whatever else comes to be observed takes its place here, and is measured with the rest.
OBSERVED = {
    "logs": {"log": 'access = "../access.log"\naccess_format = "json"\nerrors = "../errors.log"'},
    # Every request is recorded, and none is written down: all are answered 200.
    "failed requests": {"tables": '[[failed_requests.rule]]\nstatus = ["5xx"]\n'},
    "traces": {"tables": '[traces]\nendpoint = "http://127.0.0.1:{collector}"\nsample = 0.01\n'},
}


def nginx(place, name="nginx", core=None):
    """nginx with one worker; under another name and on another core, the upstream of the proxied requests."""
    ports = free_ports(["plain", "tls", "proxied", "proxied_tls"])
    config = place.folder / f"{name}.conf"
    (place.folder / "large").write_bytes(bytes(LARGE_BYTES))
    config.write_text(NGINX.format(
        **ports, name=name, folder=place.folder, upstream=place.upstream or ports["plain"],
        chain=place.chain, key=place.key, body=BODY))
    command = ["/usr/sbin/nginx", "-p", place.folder, "-e", "stderr", "-c", config]
    return Server(name, command, place.core if core is None else core, ports, place.folder)


def haproxy(place):
    ports = free_ports(["plain", "tls", "proxied", "proxied_tls"])
    config = place.folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(**ports, upstream=place.upstream, both=place.both, body=BODY))
    command = ["/usr/sbin/haproxy", "-db", "-f", config]
    return Server("haproxy", command, place.core, ports, place.folder)


def bare(place):
    """hyper, h2 and rustls with nothing round them; it proxies nothing."""
    ports = free_ports(["plain", "tls"])
    command = [place.binaries / "examples" / "bare_hyper", ports["plain"], ports["tls"], place.chain, place.key]
    return Server("bare", command, place.core, ports, place.folder)


def bare_h3(place):
    """quinn and h3 with nothing round them."""
    ports = free_ports(["h3"])
    command = [place.binaries / "examples" / "bare_h3", ports["h3"], place.chain, place.key]
    return Server("bare-h3", command, place.core, ports, place.folder)


def caddy(place):
    """Caddy with one processor to itself; for HTTP/3 alone, which neither Debian's nginx nor its HAProxy has."""
    ports = free_ports(["h3"])
    config = place.folder / "Caddyfile"
    config.write_text(CADDY.format(**ports, folder=place.folder, chain=place.chain, key=place.key, body=BODY))
    command = ["caddy", "run", "--config", config, "--adapter", "caddyfile"]
    environment = {"GOMAXPROCS": "1", "XDG_CONFIG_HOME": str(place.folder), "XDG_DATA_HOME": str(place.folder)}
    return Server("caddy", command, place.core, ports, place.folder, environment)


@dataclass
class Peer:
    """How a peer is started, and the ports that it will have."""

    start: Callable
    ports: frozenset


PEERS = {
    "portunus": Peer(portunus, frozenset({"plain", "tls", "proxied", "proxied_tls", "h3"})),
    "nginx": Peer(nginx, frozenset({"plain", "tls", "proxied", "proxied_tls"})),
    "haproxy": Peer(haproxy, frozenset({"plain", "tls", "proxied", "proxied_tls"})),
    "caddy": Peer(caddy, frozenset({"h3"})),
    "bare": Peer(bare, frozenset({"plain", "tls"})),
    "bare-h3": Peer(bare_h3, frozenset({"h3"})),
}

# More requests at once than the h2 scenario sends (16 × 32): it measures the way through, not the waiting.
PORTUNUS = """
[server]
threads = 1
{server}

[log]
level = "warn"
{log}

{tables}

[tls]
min_version = "1.3"

[[certificate]]
name = "bench"
chain = "{chain}"
key = "{key}"

[[binding]]
protocol = "http"
ip = "127.0.0.1"
port = {plain}
hostname = "*"
site = "hello"

[[binding]]
protocol = "https"
ip = "127.0.0.1"
port = {tls}
hostname = "*"
certificate = "bench"
protocols = ["h2", "http/1.1"]
site = "hello"

[[binding]]
protocol = "http"
ip = "127.0.0.1"
port = {proxied}
hostname = "*"
site = "proxied"

[[binding]]
protocol = "https"
ip = "127.0.0.1"
port = {proxied_tls}
hostname = "*"
certificate = "bench"
protocols = ["h2", "http/1.1"]
site = "proxied"

# A binding of its own: on one with HTTP/3, the answers over TCP carry a field more.
[[binding]]
protocol = "https"
ip = "127.0.0.1"
port = {h3}
hostname = "*"
certificate = "bench"
protocols = ["h3", "h2", "http/1.1"]
site = "hello"

[[site]]
name = "hello"
[[site.route]]
path = "/"
pool = "hello"

[[site]]
name = "proxied"
[[site.route]]
path = "/"
pool = "proxied"

[[pool]]
name = "hello"
concurrency = 4096
[pool.handler]
type = "respond"
headers = {{ content-type = "text/plain" }}
body = "{body}"

[[pool]]
name = "proxied"
concurrency = 4096
[pool.handler]
type = "proxy"
upstreams = ["http://127.0.0.1:{upstream}"]
idle_connections = 1024
"""

NGINX = """
user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid {folder}/{name}.pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    server_tokens off;
    default_type text/plain;
    keepalive_timeout 120s;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/{name}-body;
    proxy_temp_path {folder}/{name}-proxy;
    fastcgi_temp_path {folder}/{name}-fastcgi;
    uwsgi_temp_path {folder}/{name}-uwsgi;
    scgi_temp_path {folder}/{name}-scgi;
    upstream hello {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{plain} backlog=4096;
        location / {{ return 200 "{body}"; }}
        location = /large {{ root {folder}; }}
    }}
    server {{
        listen 127.0.0.1:{tls} ssl http2 backlog=4096;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        location / {{ return 200 "{body}"; }}
    }}
    server {{
        listen 127.0.0.1:{proxied} backlog=4096;
        listen 127.0.0.1:{proxied_tls} ssl http2 backlog=4096;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        location / {{
            proxy_pass http://hello;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $host;
            proxy_set_header Forwarded "for=$remote_addr;host=$host;proto=$scheme";
        }}
    }}
}}
"""

# Of itself HAProxy's answer would lack Date and Server, which every other peer sends.
HAPROXY = """
global
    nbthread 1
    maxconn 8192
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    mode http
    timeout connect 5s
    timeout client 120s
    timeout server 60s
    timeout http-request 15s
    timeout http-keep-alive 120s
frontend plain
    bind 127.0.0.1:{plain} backlog 4096
    http-request return status 200 content-type text/plain string "{body}" hdr date "%[date,http_date]" hdr server haproxy
frontend tls
    bind 127.0.0.1:{tls} backlog 4096 ssl crt {both} alpn h2,http/1.1
    http-request return status 200 content-type text/plain string "{body}" hdr date "%[date,http_date]" hdr server haproxy
frontend proxied
    bind 127.0.0.1:{proxied} backlog 4096
    bind 127.0.0.1:{proxied_tls} backlog 4096 ssl crt {both} alpn h2,http/1.1
    option forwardfor
    http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header Forwarded "for=%[src];host=%[req.hdr(host)];proto=http" if !{{ ssl_fc }}
    http-request set-header Forwarded "for=%[src];host=%[req.hdr(host)];proto=https" if {{ ssl_fc }}
    default_backend upstream
backend upstream
    http-reuse always
    server upstream 127.0.0.1:{upstream}
"""

CADDY = """
{{
    admin off
    persist_config off
    auto_https off
    storage file_system {folder}/caddy
    log {{
        level ERROR
    }}
}}
https://localhost:{h3} {{
    bind 127.0.0.1
    tls {chain} {key}
    header Content-Type text/plain
    respond "{body}"
}}
"""

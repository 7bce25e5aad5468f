"""The load: one run of wrk, h2load or h3_load, and a herd of idle connections. Each says how many requests were answered, and how late."""

import contextlib
import http.server
import json
import pathlib
import re
import socket
import ssl
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

BURST = 100
H3_LOAD = "h3_load"  # the program; it is told at the start where it was built


@dataclass
class Load:
    """What one run of a load generator brought."""

    requests: int
    p99_us: float | None  # None: to be had of a run of its own, h2_p99


def wrk(url, seconds, connections):
    """HTTP/1.1 over keep-alive connections."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    text = _run(command)
    faults = re.findall(r"^\s*(?:Non-2xx.*|Socket errors.*)$", text, re.M)
    if faults:
        raise SystemExit(f"{' '.join(command)}: {'; '.join(fault.strip() for fault in faults)}")
    requests = int(_find(r"(\d+) requests in", text))
    return Load(requests, _microseconds(re.search(r"99%\s+([\d.]+)(us|ms|s)", text)))


def h2load(url, connections, streams, seconds):
    """HTTP/2 over a few connections with many streams each."""
    text = _h2load(url, f"-c{connections}", f"-m{streams}", f"-D{seconds}")
    return Load(_succeeded(text), None)


def h2_p99(url, connections, streams):
    """p99 of a second of the same load. h2load knows percentiles only from its log of every request, and writing that
    costs it a third of its speed: so the requests that CPU time is counted for are not logged. Now and then it waits for
    nginx for ever at its end, and is asked again."""
    with tempfile.NamedTemporaryFile(suffix=".tsv") as log:
        command = ["h2load", "-t1", f"-c{connections}", f"-m{streams}", "-D1", f"--log-file={log.name}", url]
        for attempt in range(3):
            try:
                _succeeded(_run(command, 30))
                break
            except subprocess.TimeoutExpired:
                if attempt == 2:
                    raise
        times = sorted(int(line.split("\t")[2]) for line in pathlib.Path(log.name).read_text().splitlines())
    return float(times[len(times) * 99 // 100])


def h3_load(url, connections, streams, seconds, content_bytes):
    """HTTP/3 over a few connections with many streams each. What it leaves out of its percentiles, to warm up, has cost CPU
    time as well, and is counted with the rest."""
    command = [H3_LOAD, f"-c{connections}", f"-m{streams}", f"-D{seconds}", url]
    done = json.loads(_run(command))
    if done["failures"] or not done["requests"] or done["content_bytes"] != content_bytes * done["requests"]:
        raise SystemExit(f"{' '.join(map(str, command))}: {done}")
    return Load(done["requests"] + done["warm_up"], float(done["p99_us"]))


def ask_h3(url):
    """One request over HTTP/3: the names of the fields of its answer, and the body."""
    answer = json.loads(_run([H3_LOAD, "--once", url]))
    if answer["status"] != 200:
        raise SystemExit(f"expected 200 from {url}, was answered: {answer}")
    return set(answer["fields"]), answer["body"]


def handshakes(url, seconds):
    """Bursts of 100 new connections with one HTTP/1.1 request each. Each burst is a client process of its own, that knows no
    session yet: wrk and h2load resume the last one when they reconnect, and then nothing is signed. Of each burst the
    slowest first byte stands for its p99; given is the median over the bursts."""
    slowest = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        text = _h2load(url, "--h1", f"-c{BURST}", f"-n{BURST}")
        if _succeeded(text) != BURST or "TLS Protocol: TLSv1.3" not in text:
            raise SystemExit(f"expected {BURST} answers over TLS 1.3, got:\n{text}")
        slowest.append(_microseconds(re.search(r"time to 1st byte:\s+\S+\s+([\d.]+)(us|ms|s)", text)))
    return Load(BURST * len(slowest), statistics.median(slowest))


def _h2load(url, *arguments):
    return _run(["h2load", "-t1", *arguments, url])


def _succeeded(text):
    done, failed, errored = (int(_find(rf"(\d+) {word}", text)) for word in ("succeeded", "failed", "errored"))
    if failed or errored or not done:
        raise SystemExit(f"h2load: {_find(r'(requests: .*)', text)}")
    return done


def _microseconds(found):
    value, unit = found.groups()
    return float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def _run(command, timeout=300):
    result = subprocess.run(
        list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def _find(pattern, text):
    found = re.search(pattern, text)
    if not found:
        raise SystemExit(f"no {pattern!r} in what the load generator printed:\n{text}")
    return found.group(1)


@contextlib.contextmanager
def asking(admin_socket, path):
    """Asks an admin socket each second meanwhile, as Prometheus would more seldom; nothing is asked where there is no socket."""
    over = threading.Event()

    def ask_on():
        while not over.is_set():
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(admin_socket))
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                while connection.recv(1 << 16):
                    pass
            over.wait(1)

    asker = threading.Thread(target=ask_on, daemon=True)
    if admin_socket:
        asker.start()
    try:
        yield
    finally:
        over.set()
        if admin_socket:
            asker.join()


@contextlib.contextmanager
def collector():
    """A collector of traces that takes all and keeps nothing; its port."""
    class Taker(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


def client_context():
    """A TLS client that takes any certificate: what is measured is the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def idle_connections(port, count, context=None):
    """Opens connections that each ask once, read the answer, and then keep silent."""
    connections = []
    for _ in range(count):
        connections.append(connect(port, context))
        ask(connections[-1])
    return connections


def connect(port, context=None):
    """One connection, over TLS where a context for it is given."""
    connection = socket.create_connection(("127.0.0.1", port), 10)
    return context.wrap_socket(connection, server_hostname="localhost") if context else connection


def ask(connection):
    """One request over an open connection; the head and the body of its answer."""
    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: idle\r\nAccept: */*\r\n\r\n")
    read = b""
    while b"\r\n\r\n" not in read:
        read += _receive(connection, read)
    head, body = read.split(b"\r\n\r\n", 1)
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"expected 200, was answered: {head!r}")
    length = int(re.search(rb"(?i)content-length: *(\d+)", head).group(1))
    while len(body) < length:
        body += _receive(connection, read)
    return head.decode(), body.decode()


def _receive(connection, read):
    piece = connection.recv(65536)
    if not piece:
        raise SystemExit(f"the server closed in the middle of an answer: {read!r}")
    return piece

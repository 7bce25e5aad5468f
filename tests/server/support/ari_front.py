"""Stands in front of Pebble and adds what its release lacks: renewal information (RFC 9773).

The first certificate that is asked about is to be renewed at once, every other one in a month; where REFUSED is not 0, that one too.
What orders say that they replace is repeated to them, as the RFC has it, and noted in a file. The first REFUSED questions after an
order are refused for their nonces.

ari_front.py PORT PEBBLE_PORT CERTIFICATE KEY NOTES REFUSED
"""

import base64
import http.client
import json
import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, pebble, certificate, key, notes = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]
refused = [None] * int(sys.argv[6])
first = ["none is"] if refused else []


def note(text):
    with open(notes, "a") as file:
        file.write(text + "\n")


def rfc3339(moment):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


class Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.forward()

    def do_GET(self):
        if not self.path.startswith("/ari/"):
            return self.forward()
        name = self.path.removeprefix("/ari/")
        note(f"asked {name}")
        if not first:
            first.append(name)
        month = 30 * 86400 if name != first[0] else -86400
        window = {"start": rfc3339(time.time() + month), "end": rfc3339(time.time() + month + 3600)}
        self.answer(200, {"Retry-After": "3600"}, json.dumps({"suggestedWindow": window}).encode())

    def do_POST(self):
        if not refused or not self.path.startswith("/my-order/"):
            return self.forward()
        refused.pop()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        problem = {"type": "urn:ietf:params:acme:error:badNonce", "status": 400, "detail": "another one"}
        self.answer(400, {"Content-Type": "application/problem+json"}, json.dumps(problem).encode())

    def forward(self):
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        upstream = http.client.HTTPSConnection("127.0.0.1", pebble, context=ssl._create_unverified_context())
        upstream.request(self.command, self.path, content, dict(self.headers))
        response = upstream.getresponse()
        body = response.read()
        if self.path == "/dir":
            directory = json.loads(body)
            directory["renewalInfo"] = f"https://127.0.0.1:{port}/ari"
            body = json.dumps(directory).encode()
        elif self.path == "/order-plz" and response.status == 201:
            payload = json.loads(content)["payload"]
            wanted = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            if "replaces" in wanted:
                note(f"replaces {wanted['replaces']}")
                body = json.dumps(json.loads(body) | {"replaces": wanted["replaces"]}).encode()
        framing = ("content-length", "transfer-encoding", "connection")
        kept = {name: value for name, value in response.getheaders() if name.lower() not in framing}
        self.answer(response.status, kept, body)

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", port), Front)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()

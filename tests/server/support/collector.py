"""A collector of OpenTelemetry for the tests: takes OTLP over HTTP, and reads it by OpenTelemetry's own Python package.

Its first line is the port. Each further line is a request that came, as JSON. A line on stdin is how the next requests are answered: a
status, and Retry-After; `hold` leaves them without an answer until another line comes. It is repeated when it holds. The argument `closed`
has nobody listen at the port before the first of these lines.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

mode = ["200"]
changed = threading.Condition()
said = threading.Lock()


def value(any_value):
    return getattr(any_value, any_value.WhichOneof("value"))


def pairs(attributes):
    keys = [pair.key for pair in attributes]
    assert len(keys) == len(set(keys)), f"a key is there twice: {keys}"
    return {pair.key: value(pair.value) for pair in attributes}


def span_of(span):
    return {
        "trace": span.trace_id.hex(),
        "id": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "state": span.trace_state,
        "name": span.name,
        "kind": span.kind,
        "start": span.start_time_unix_nano,
        "end": span.end_time_unix_nano,
        "attributes": pairs(span.attributes),
        "events": [event.name for event in span.events],
        "links": [[link.trace_id.hex(), link.span_id.hex()] for link in span.links],
        "error": span.status.code == 2,
        "message": span.status.message,
        "flags": span.flags,
    }


def all_known(message):
    """Nothing that was sent is strange to who reads it."""
    assert len(UnknownFieldSet(message)) == 0, message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if hasattr(value, "ListFields") else value:
                all_known(inner)


def read(content):
    request = ExportTraceServiceRequest.FromString(content)
    all_known(request)
    # Written again, it is as long: nothing of it was left unread, or written twice.
    assert request.ByteSize() == len(content), (request.ByteSize(), len(content))
    spans, resources = [], []
    for of_resource in request.resource_spans:
        resources.append(pairs(of_resource.resource.attributes))
        for of_scope in of_resource.scope_spans:
            assert of_scope.scope.name == "portunus"
            spans.extend(span_of(span) for span in of_scope.spans)
    return {"resources": resources, "spans": spans}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            told = read(content)
        except Exception as error:
            told = {"wrong": repr(error)}
        told["path"] = self.path
        told["fields"] = {name.lower(): text for name, text in self.headers.items()}
        with changed:
            answer = mode[0].split()
            told["answer"] = answer[0]
            with said:
                print(json.dumps(told), flush=True)
            while answer == ["hold"]:
                changed.wait()
                answer = mode[0].split()
        body = b""
        if answer[0] == "partly":
            response = ExportTraceServiceResponse()
            response.partial_success.rejected_spans = 1
            response.partial_success.error_message = "one is too old"
            body = response.SerializeToString()
            answer = ["200"]
        self.send_response(int(answer[0]))
        if len(answer) > 1:
            self.send_header("Retry-After", answer[1])
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


def listen():
    server.server_activate()
    threading.Thread(target=server.serve_forever, daemon=True).start()


# Bound without listening, a port refuses whoever connects, and is nobody else's.
server = Server(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.server_bind()
closed = sys.argv[1:] == ["closed"]
if not closed:
    listen()
print(server.server_port, flush=True)
for line in sys.stdin:
    with changed:
        mode[0] = line.strip()
        changed.notify_all()
        with said:
            print(json.dumps({"answers": mode[0]}), flush=True)
    if closed:
        closed = False
        listen()

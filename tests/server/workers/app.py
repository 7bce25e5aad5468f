"""An application for the tests of workers: a small HTTP/1.1 server that does as its path says."""

import http.server
import os
import socket
import socketserver
import sys
import threading
import time

LEAKED = []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "-"

    def log_message(self, *_):
        pass

    def answer(self, text, status=200):
        content = text.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        path, _, number = self.path.partition("?")
        number = float(number or 0)
        if "RECORD" in os.environ:
            with open("requests", "a") as requests:
                requests.write(f"{path}\n")
        if path == "/pid":
            self.answer(str(os.getpid()))
        elif path == "/slow":
            time.sleep(number)
            self.answer("slow")
        elif path == "/crash":
            print("about to crash", flush=True)
            os._exit(3)
        elif path == "/crash-once":
            try:
                os.mkdir("crashed")
            except FileExistsError:
                return self.answer("the second time")
            os._exit(3)
        elif path == "/hang-up":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif path == "/leak":
            LEAKED.append(bytearray(int(number) << 20))
            self.answer("leaked")
        elif path == "/stream":
            self.send_response(200)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in range(int(number)):
                self.wfile.write(b"4\r\n%04d\r\n" % piece)
                time.sleep(0.05)
            self.wfile.write(b"0\r\n\r\n")
        elif path == "/socket":
            self.send_response(101)
            self.send_header("connection", "upgrade")
            self.send_header("upgrade", "echo")
            self.end_headers()
            self.close_connection = True
            while data := self.connection.recv(1024):
                self.connection.sendall(data)
        elif path == "/health":
            self.answer("sick" if os.path.exists("sick") else "well", 503 if os.path.exists("sick") else 200)
        else:
            self.answer("Hello, World!")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.do_GET()


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 0

    def get_request(self):
        request, _ = self.socket.accept()
        return request, ("-", 0)


def main():
    with open("starts", "a") as starts:
        starts.write(f"{os.getpid()}\n")
    if os.path.exists("broken") or "BROKEN" in os.environ:
        sys.exit("the application is broken")
    if os.path.exists("never-ready"):
        time.sleep(3600)
    if path := os.environ.get("PORTUNUS_SOCKET"):
        Server.address_family = socket.AF_UNIX
        server = Server(path, Handler)
    else:
        server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Event().wait()


main()

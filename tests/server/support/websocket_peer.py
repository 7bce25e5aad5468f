"""Both ends of WebSocket by other people than us: framing and the server by `websockets`, streams by Python's TLS, `h2` and aioquic.

    websocket_peer.py serve

echoes what it is told, on a port of its own choice, whose number is its first line. On /head it says first what the request's head
was; on /forbidden it refuses.

    websocket_peer.py call VERSION

is a client that speaks VERSION (h1, h2, h3). It does what lines of JSON say, and answers each with a line of JSON; "open" makes a connection
to `localhost` at 127.0.0.1 and a port, trusting a CA, and all that follows is about what came of that.
"""

import asyncio
import http
import json
import os
import socket
import ssl
import struct
import sys
from contextlib import suppress

from websockets.frames import Opcode
from websockets.protocol import CLIENT, Protocol


async def serve():
    from websockets.asyncio.server import serve
    from websockets.exceptions import ConnectionClosed

    async def echo(line):
        if line.request.path == "/head":
            await line.send(json.dumps({name.lower(): value for name, value in line.request.headers.raw_items()}))
        with suppress(ConnectionClosed):
            async for message in line:
                await line.send(message)

    def judge(line, request):
        if request.path == "/forbidden":
            return line.respond(http.HTTPStatus.FORBIDDEN, "no\n")

    def choose(line, offered):
        return "chat" if "chat" in offered else None

    async with serve(echo, "127.0.0.1", 0, select_subprotocol=choose, process_request=judge, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()


class Line:
    """What has left HTTP. What comes is in `incoming`: bytes, and at last how it ended."""

    def __init__(self):
        self.incoming, self.left = asyncio.Queue(), bytearray()
        self.head = asyncio.get_running_loop().create_future()

    def came(self, data):
        self.incoming.put_nowait(data)

    def ended(self, how):
        if not self.head.done():
            self.head.set_result({":status": None, "how": how})
        self.incoming.put_nowait(how)


async def connect_tls(port, ca, protocol):
    tls = ssl.create_default_context(cafile=ca)
    tls.set_alpn_protocols([protocol])
    return await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="localhost")


class H1(Line):
    async def open(self, port, ca, path, fields, protocol):
        self.reader, self.writer = await connect_tls(port, ca, "http/1.1")
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: Upgrade", f"Upgrade: {protocol}"]
        lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="] + [f"{name}: {value}" for name, value in fields]
        self.writer.write("\r\n".join(lines + ["", ""]).encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        told = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:-2])}
        asyncio.ensure_future(self.read())
        return told | {":status": head[0].split(" ")[1]}

    async def read(self):
        try:
            while data := await self.reader.read(65536):
                self.came(data)
            self.ended("end")
        except (ConnectionError, ssl.SSLError):
            self.ended("reset")

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def end(self):
        self.writer.close()

    async def reset(self):
        line = self.writer.get_extra_info("socket")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class H2(Line):
    async def open(self, port, ca, path, fields, protocol):
        from h2.config import H2Configuration
        from h2.connection import H2Connection
        from h2.settings import SettingCodes
        from hyperframe.frame import GoAwayFrame

        self.reader, self.writer = await connect_tls(port, ca, "h2")
        self.http, self.moved = H2Connection(H2Configuration(validate_outbound_headers=False)), asyncio.Event()
        # After GOAWAY the library takes the whole connection for closed, streams under way and all.
        self.http._frame_dispatch_table[GoAwayFrame] = lambda frame: ([], [])
        self.http.initiate_connection()
        self.flush()
        self.settled = asyncio.Event()
        asyncio.ensure_future(self.read())
        await self.settled.wait()
        self.stream = self.http.get_next_available_stream_id()
        allowed = self.http.remote_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL, 0)
        self.http.send_headers(self.stream, connect(path, fields, protocol))
        self.flush()
        return await self.head | {"allowed": allowed}

    def flush(self):
        self.writer.write(self.http.data_to_send())

    async def read(self):
        from h2 import events

        while data := await self.reader.read(65536):
            for event in self.http.receive_data(data):
                if isinstance(event, events.RemoteSettingsChanged):
                    self.settled.set()
                elif isinstance(event, events.ResponseReceived):
                    self.head.set_result(told(event.headers))
                elif isinstance(event, events.DataReceived):
                    self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    self.came(event.data)
                elif isinstance(event, events.StreamEnded):
                    self.ended("end")
                elif isinstance(event, events.StreamReset):
                    self.ended(f"reset {int(event.error_code)}")
            self.moved.set()
            self.flush()
        self.ended("lost")

    async def send(self, data):
        while data:
            room = min(self.http.local_flow_control_window(self.stream), self.http.max_outbound_frame_size, len(data))
            if room == 0:
                self.moved.clear()
                await self.moved.wait()
                continue
            self.http.send_data(self.stream, data[:room])
            data = data[room:]
            self.flush()
            await self.writer.drain()

    async def end(self):
        self.http.end_stream(self.stream)
        self.flush()

    async def reset(self):
        self.http.reset_stream(self.stream, 8)
        self.flush()


class H3(Line):
    async def open(self, port, ca, path, fields, protocol):
        from aioquic.asyncio.protocol import QuicConnectionProtocol
        from aioquic.h3 import events
        from aioquic.h3.connection import H3Connection
        from aioquic.quic.configuration import QuicConfiguration
        from aioquic.quic.connection import QuicConnection
        from aioquic.quic.events import ConnectionTerminated, StreamReset

        class Client(QuicConnectionProtocol):
            def quic_event_received(client, event):
                if isinstance(event, StreamReset) and event.stream_id == self.stream:
                    self.ended(f"reset {event.error_code:#x}")
                elif isinstance(event, ConnectionTerminated):
                    self.ended("lost")
                for event in self.http.handle_event(event):
                    if isinstance(event, events.HeadersReceived):
                        self.head.set_result(told(event.headers))
                    elif isinstance(event, events.DataReceived):
                        self.came(event.data)
                    if event.stream_ended:
                        self.ended("end")
                if self.http.received_settings:
                    self.settled.set()

        configuration = QuicConfiguration(is_client=True, alpn_protocols=["h3"], server_name="localhost")
        configuration.load_verify_locations(ca)
        self.quic, self.settled, self.stream = QuicConnection(configuration=configuration), asyncio.Event(), None
        self.http = H3Connection(self.quic)
        self.client = Client(self.quic)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self.client, local_addr=("127.0.0.1", 0))
        self.client.connect(("127.0.0.1", port))
        await self.client.wait_connected()
        await self.settled.wait()
        self.stream = self.quic.get_next_available_stream_id()
        head = [(name.encode(), value.encode()) for name, value in connect(path, fields, protocol)]
        self.http.send_headers(self.stream, head)
        self.client.transmit()
        # RFC 9220 section 5: the setting of RFC 8441.
        return await self.head | {"allowed": self.http.received_settings.get(8, 0)}

    async def send(self, data):
        self.http.send_data(self.stream, data, end_stream=False)
        self.client.transmit()

    async def end(self):
        self.http.send_data(self.stream, b"", end_stream=True)
        self.client.transmit()

    async def reset(self):
        self.quic.reset_stream(self.stream, 0x10C)
        self.quic.stop_stream(self.stream, 0x10C)
        self.client.transmit()


def connect(path, fields, protocol):
    """An extended CONNECT (RFC 8441 section 4)."""
    head = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "https"), (":path", path), (":authority", "localhost")]
    return [field for field in head if field[1] is not None] + [tuple(field) for field in fields]


def told(headers):
    text = lambda part: part if isinstance(part, str) else part.decode()
    return {text(name): text(value) for name, value in headers}


class Peer:
    """A WebSocket on a line."""

    def __init__(self, line):
        self.line, self.socket, self.messages, self.how = line, Protocol(CLIENT, max_size=None), [], None

    async def flush(self):
        for data in self.socket.data_to_send():
            # None is the end, which the closing handshake leaves to the server.
            if data:
                await self.line.send(data)

    async def message(self, kind):
        whole = bytearray()
        while True:
            while self.messages:
                frame = self.messages.pop(0)
                if frame.opcode in (kind, Opcode.CONT):
                    whole += frame.data
                    if frame.fin:
                        return bytes(whole)
            await self.hear()

    async def hear(self):
        data = await self.line.incoming.get()
        if isinstance(data, str):
            self.how = data
            raise EOFError(data)
        self.socket.receive_data(data)
        self.messages += self.socket.events_received()
        await self.flush()

    async def text(self, text):
        self.socket.send_text(text.encode())
        await self.flush()
        return (await self.message(Opcode.TEXT)).decode()

    async def heard(self):
        return (await self.message(Opcode.TEXT)).decode()

    async def binary(self, length):
        content = os.urandom(length)
        self.socket.send_binary(content)
        sending = asyncio.ensure_future(self.flush())
        echoed = await self.message(Opcode.BINARY)
        await sending
        return echoed == content

    async def ping(self):
        self.socket.send_ping(b"there?")
        await self.flush()
        return (await self.message(Opcode.PONG)).decode()

    async def close(self):
        self.socket.send_close(1000, "bye")
        await self.flush()
        try:
            while True:
                await self.hear()
        except EOFError:
            pass
        how = self.how
        self.socket.receive_eof()
        if how == "end":
            await self.line.end()
        return {"code": self.socket.close_code, "how": how}


async def do(line, peer, what, *arguments):
    if what == "say":
        return await line.send(arguments[0].encode())
    if what == "hear":
        while len(line.left) < arguments[0]:
            data = await line.incoming.get()
            if isinstance(data, str):
                return {"how": data, "heard": line.left.decode()}
            line.left += data
        heard = line.left[: arguments[0]].decode()
        del line.left[: arguments[0]]
        return heard
    if what == "flood":
        for _ in range(arguments[0] // 65536):
            await line.send(bytes(65536))
        return None
    if what == "drink":
        length = 0
        while length < arguments[0]:
            data = await line.incoming.get()
            if isinstance(data, str):
                break
            length += len(data)
        return length
    if what == "ended":
        while not isinstance(how := await line.incoming.get(), str):
            pass
        return how
    if what in ("end", "reset"):
        return await getattr(line, what)()
    return await getattr(peer, what)(*arguments)


async def call(version):
    kind, line, peer, loop = {"h1": H1, "h2": H2, "h3": H3}[version], None, None, asyncio.get_running_loop()
    while command := await loop.run_in_executor(None, sys.stdin.readline):
        what, *arguments = json.loads(command)
        if what == "open":
            line = kind()
            peer = Peer(line)
            answer = await line.open(*arguments)
        else:
            answer = await do(line, peer, what, *arguments)
        print(json.dumps(answer), flush=True)
    os._exit(0)


asyncio.run(serve() if sys.argv[1] == "serve" else call(*sys.argv[2:]))

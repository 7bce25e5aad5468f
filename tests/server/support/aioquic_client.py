"""The second HTTP/3 client of the tests, by other people than the first: aioquic.

    aioquic_client.py PORT CA SCENARIO [ARGUMENT...]

plays a scenario against 127.0.0.1:PORT as a client of `localhost`, trusting CA, and writes what came of it as one JSON value. What
should have come of it is for tests/server/http3/aioquic.rs to say.
"""

import asyncio
import json
import os
import socket
import sys
from copy import copy

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection, encode_frame
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.events import ConnectionTerminated, StopSendingReceived, StreamReset
from aioquic.quic.packet import QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.tls import Epoch

DATA, HEADERS = 0x0, 0x1
# Identifiers that mean nothing, so that everybody learns to ignore what he does not know (RFC 9114 section 7.2.8).
GREASE = 0x1F * 7 + 0x21

PORT, CA = int(sys.argv[1]), sys.argv[2]


class Http(H3Connection):
    """HTTP/3 that knows of HEAD, whose response has a length and no content; and with settings that nobody knows."""

    def __init__(self, quic):
        self.of_head = set()
        super().__init__(quic)

    def _check_content_length(self, stream):
        if stream.stream_id not in self.of_head:
            super()._check_content_length(stream)

    def _get_local_settings(self):
        return super()._get_local_settings() | {GREASE: 7, GREASE + 0x1F: 0}


class Response:
    def __init__(self):
        self.heads, self.content, self.reset, self.stopped = [], bytearray(), None, None
        self.received, self.done = 0, asyncio.Event()

    def told(self):
        heads = [{name.decode(): value.decode() for name, value in head} for head in self.heads]
        return {
            "head": heads[0] if heads else None,
            "trailers": heads[1] if len(heads) > 1 else None,
            "content": self.content.decode("latin-1") if len(self.content) < 4096 else None,
            "length": self.received,
            "reset": self.reset,
            "stopped": self.stopped,
        }


class Client(QuicConnectionProtocol):
    def __init__(self, quic):
        super().__init__(quic)
        self.quic, self.http, self.responses, self.ended = quic, Http(quic), {}, None
        self.keeps, self.progress = True, None

    def quic_event_received(self, event):
        response = self.responses.get(getattr(event, "stream_id", None))
        if isinstance(event, ConnectionTerminated):
            self.ended = event.error_code
            for response in self.responses.values():
                response.done.set()
        elif isinstance(event, StreamReset) and response:
            response.reset = event.error_code
            response.done.set()
        elif isinstance(event, StopSendingReceived) and response:
            response.stopped = event.error_code
        for event in self.http.handle_event(event):
            response = self.responses[event.stream_id]
            if isinstance(event, HeadersReceived):
                response.heads.append(event.headers)
            elif isinstance(event, DataReceived):
                response.received += len(event.data)
                if self.keeps:
                    response.content += event.data
                if self.progress:
                    self.progress(response.received)
            if event.stream_ended:
                response.done.set()

    def open(self):
        stream = self.quic.get_next_available_stream_id()
        response = self.responses[stream] = Response()
        return stream, response

    def begin(self, method="GET", path="/", fields=(), content=None, trailers=None):
        """Sends a request; its response comes in time."""
        stream, response = self.open()
        if method == "HEAD":
            self.http.of_head.add(stream)
        head = [(b":method", method.encode()), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", path.encode())]
        fields = [(name.encode(), value.encode()) for name, value in fields]
        self.http.send_headers(stream, head + fields, end_stream=content is None and trailers is None)
        if content is not None:
            self.http.send_data(stream, content, end_stream=trailers is None)
        if trailers is not None:
            self.http.send_headers(stream, [(n.encode(), v.encode()) for n, v in trailers], end_stream=True)
        self.transmit()
        return response

    async def ask(self, *request, **more):
        response = self.begin(*request, **more)
        await response.done.wait()
        return response.told()

    async def send(self, frames):
        """Sends bytes as a request's stream, whatever they mean."""
        stream, response = self.open()
        self.quic.send_stream_data(stream, b"".join(frames(stream)), end_stream=True)
        self.transmit()
        await response.done.wait()
        return response.told()

    async def move(self):
        """Goes on from another port."""
        before = self._transport
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        before.close()


async def connect(name="localhost", keep_tickets=None, change=None, **configuration):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["h3"], server_name=name, **configuration)
    configuration.load_verify_locations(CA)
    quic = QuicConnection(configuration=configuration, session_ticket_handler=keep_tickets)
    if change:
        change(quic)
    client, loop = Client(quic), asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: client, local_addr=("127.0.0.1", 0))
    client.connect(("127.0.0.1", PORT))
    await client.wait_connected()
    return client


async def ask(method, path, content=None, fields="[]", trailers="null"):
    """One request."""
    client = await connect()
    content = content and content.encode()
    trailers = json.loads(trailers)
    return await client.ask(method, path, json.loads(fields), content=content, trailers=trailers)


async def grpc(path, message, timeout="60S"):
    """A call of gRPC with one message."""
    client = await connect()
    fields = [["content-type", "application/grpc"], ["te", "trailers"], ["grpc-timeout", timeout]]
    message = message.encode()
    told = await client.ask("POST", path, fields, content=bytes(1) + len(message).to_bytes(4, "big") + message)
    content, told["messages"] = told.pop("content").encode("latin-1"), []
    while content:
        end = 5 + int.from_bytes(content[1:5], "big")
        told["messages"].append(content[5:end].decode())
        content = content[end:]
    return told


async def early(length):
    """A request with much content, to somebody who does not read it."""
    client = await connect()
    return await client.ask("POST", "/", content=bytes(int(length)))


async def together(count):
    """So many requests at once."""
    client = await connect()
    responses = [client.begin() for _ in range(int(count))]
    for response in responses:
        await response.done.wait()
    return [response.told() for response in responses]


async def retried():
    client = await connect()
    return {"retries": client.quic._retry_count, "response": await client.ask()}


async def negotiated():
    """A handshake that begins with a version that nobody speaks."""
    client = await connect(supported_versions=[0x1A2A3A4A, 1], original_version=0x1A2A3A4A)
    return {"version": client.quic._version, "response": await client.ask()}


async def renewed():
    """Requests under ever new connection ids and keys."""
    client = await connect()
    ids, phases, statuses = set(), [], []
    for _ in range(4):
        client.change_connection_id()
        client.request_key_update()
        statuses.append((await client.ask())["head"][":status"])
        ids.add(bytes(client.quic._peer_cid.cid))
        phases.append(client.quic._cryptos[Epoch.ONE_RTT].key_phase)
    return {"ids": len(ids), "phases": phases, "statuses": statuses}


async def moving(path, every):
    """A download whose client goes on from another port after every so many bytes, every other time under another id."""
    client = await connect()
    client.keeps, moves, moving = False, 0, []

    def progress(received):
        nonlocal moves
        if received > (moves + 1) * int(every):
            moves += 1
            if moves % 2:
                client.change_connection_id()
            moving.append(asyncio.ensure_future(client.move()))

    client.progress = progress
    response = await client.ask("GET", path)
    await asyncio.gather(*moving)
    return {"moves": moves, "response": response}


async def resumed(*names):
    """A session with the first name, offered to each of the names."""
    tickets = []
    client = await connect(names[0], keep_tickets=tickets.append)
    await client.ask()
    told = []
    for name in names:
        ticket = copy(tickets[0])
        ticket.server_name = name
        client = await connect(name, session_ticket=ticket)
        host = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", name.encode()), (b":path", b"/")]
        response = await client.send(lambda stream: [encode_frame(HEADERS, client.http._encode_headers(stream, host))])
        told.append({"name": name, "resumed": client.quic.tls.session_resumed, "response": response})
    return told


async def greased():
    """A request among frames, streams and settings that nobody knows."""
    client = await connect()
    for kind in (GREASE, 0x2F):
        stream = client.quic.get_next_available_stream_id(is_unidirectional=True)
        client.quic.send_stream_data(stream, b"\x40" + bytes([kind % 64]) + b"whatever it is")
    client.quic.send_stream_data(client.http._local_control_stream_id, encode_frame(GREASE, b"on the control stream"))
    head = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", b"/")]

    def frames(stream):
        fields = client.http._encode_headers(stream, head)
        return [encode_frame(GREASE, b"x" * 300), encode_frame(HEADERS, fields), encode_frame(GREASE, b"")]

    return {"responses": [await client.send(frames) for _ in range(3)], "ended": client.ended}


async def malformed(heads):
    """Each of these heads, as a request of its own on one connection; and what comes of a good one then."""
    client = await connect()
    told = []
    for head in json.loads(heads):
        head = [(name.encode(), value.encode()) for name, value in head]
        told.append(await client.send(lambda stream: [encode_frame(HEADERS, client.http._encode_headers(stream, head))]))
    return {"malformed": told, "good": await client.ask()}


async def impossible():
    """A handshake with a transport parameter that nobody may have (RFC 9000 section 18.2)."""

    def change(quic):
        quic._local_ack_delay_exponent = 21

    try:
        await connect(change=change)
    except ConnectionError as error:
        return str(error)


async def misspoken(*messages):
    """First packets as they should be, with these bytes where a ClientHello belongs."""
    loop, answered = asyncio.get_running_loop(), []
    for message in map(bytes.fromhex, messages):
        server_id, crypto = os.urandom(8), CryptoPair()
        crypto.setup_initial(server_id, is_client=True, version=1)
        builder = QuicPacketBuilder(
            host_cid=os.urandom(8), peer_cid=server_id, version=1, is_client=True, max_datagram_size=1200
        )
        builder.start_packet(QuicPacketType.INITIAL, crypto)
        frame = builder.start_frame(QuicFrameType.CRYPTO, capacity=len(message) + 8)
        frame.push_uint_var(0)
        frame.push_uint_var(len(message))
        frame.push_bytes(message)
        datagrams, _ = builder.flush()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            line.connect(("127.0.0.1", PORT))
            line.send(datagrams[0].ljust(1200, b"\0"))
            answered.append(len(await loop.sock_recv(line, 2048)))
    return answered


SCENARIOS = [
    ask, grpc, early, together, retried, negotiated, renewed, moving, resumed, greased, malformed, impossible, misspoken
]


async def main():
    scenario = next(scenario for scenario in SCENARIOS if scenario.__name__ == sys.argv[3])
    # Far more than any of them takes.
    print(json.dumps(await asyncio.wait_for(scenario(*sys.argv[4:]), 60)))


asyncio.run(main())

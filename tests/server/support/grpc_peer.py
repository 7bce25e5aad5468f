"""gRPC at both ends of a proxy, by Google's own library. Messages are bytes as they are: what is under test is what carries them.

    grpc_peer.py serve

serves on a port that the system chooses, and writes it; then a line for each call that its client gave up.

    grpc_peer.py call PORT CA SCENARIO

makes calls to localhost:PORT, trusting CA, and writes what came of them as one JSON value.
"""

import json
import sys
import threading
from concurrent import futures

import grpc


def echo(message, context):
    context.send_initial_metadata((("x-began", "1"),))
    context.set_trailing_metadata((("x-ended", "1"),))
    return message


def count(message, context):
    for number in range(int(message)):
        yield b"%d" % number


def paced(messages, context):
    """Answers each message when it comes, and not before."""
    for message in messages:
        yield b"re: " + message


def total(messages, context):
    return b"%d" % sum(len(message) for message in messages)


def missing(message, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: ü")


def deadline(message, context):
    """How much time the client has left, in seconds."""
    return b"%d" % round(context.time_remaining() or -1)


def never(message, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    context.send_initial_metadata((("x-began", "1"),))
    gone.wait(60)
    print("given up", flush=True)
    yield b""


METHODS = {
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Paced": grpc.stream_stream_rpc_method_handler(paced),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Missing": grpc.unary_unary_rpc_method_handler(missing),
    "Deadline": grpc.unary_unary_rpc_method_handler(deadline),
    "Never": grpc.unary_stream_rpc_method_handler(never),
}


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Peer", METHODS),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


def told(call):
    return {
        "code": call.code().name,
        "details": call.details(),
        "began": dict(call.initial_metadata()).get("x-began"),
        "ended": dict(call.trailing_metadata()).get("x-ended"),
    }


def unary(channel):
    message, call = channel.unary_unary("/test.Peer/Echo").with_call(b"hello" * 1000)
    return told(call) | {"whole": message == b"hello" * 1000}


def streaming(channel):
    call = channel.unary_stream("/test.Peer/Count")(b"1000")
    messages = [int(message) for message in call]
    return told(call) | {"whole": messages == list(range(1000))}


def both_ways(channel):
    """Each message is sent only when the one before was answered: nothing may be held back on the way."""
    answered, answers = threading.Semaphore(1), []

    def messages():
        for number in range(20):
            answered.acquire()
            yield b"%d" % number

    call = channel.stream_stream("/test.Peer/Paced")(messages())
    for answer in call:
        answers.append(answer.decode())
        answered.release()
    return told(call) | {"whole": answers == [f"re: {number}" for number in range(20)]}


def upload(channel):
    pieces = (b"x" * 100_000 for _ in range(100))
    message, call = channel.stream_unary("/test.Peer/Total").with_call(pieces)
    return told(call) | {"whole": message == b"10000000"}


def failing(channel):
    try:
        channel.unary_unary("/test.Peer/Missing")(b"")
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details()}


def unknown(channel):
    try:
        channel.unary_unary("/test.Peer/Nowhere")(b"")
    except grpc.RpcError as error:
        return {"code": error.code().name}


def deadlines(channel):
    left = channel.unary_unary("/test.Peer/Deadline")(b"", timeout=1000)
    # Until it has begun when its time is up, however slow the machine is.
    for seconds in (0.2, 2, 20):
        call = channel.unary_stream("/test.Peer/Never")(b"", timeout=seconds)
        try:
            list(call)
        except grpc.RpcError as error:
            code = error.code().name
        if "x-began" in dict(call.initial_metadata() or ()):
            break
    return {"left": int(left), "code": code}


def cancelled(channel):
    call = channel.unary_stream("/test.Peer/Never")(b"")
    dict(call.initial_metadata())
    call.cancel()
    return {"code": call.code().name}


SCENARIOS = [unary, streaming, both_ways, upload, failing, unknown, deadlines, cancelled]


def call(port, ca, name):
    scenario = next(scenario for scenario in SCENARIOS if scenario.__name__ == name)
    with open(ca, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    with grpc.secure_channel(f"localhost:{port}", credentials, [("grpc.enable_http_proxy", 0)]) as channel:
        print(json.dumps(scenario(channel)))


if sys.argv[1] == "serve":
    serve()
else:
    call(*sys.argv[2:])

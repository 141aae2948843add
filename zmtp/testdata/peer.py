#!/usr/bin/python3
"""One libzmq socket, told what to do by lines of JSON on standard input; it answers each with a line of JSON.

Messages are lists of hexadecimal strings, keys are Z85.
"""
import json
import sys
import time

import zmq

context = zmq.Context()
socket = None
options = {}


def make(kind, opts):
    global socket
    socket = context.socket(getattr(zmq, kind))
    socket.linger = 0
    for name, value in opts.items():
        value = value.encode() if isinstance(value, str) else value
        socket.setsockopt(getattr(zmq, name), value)


def burst(count, size, first=""):
    """Send count messages that begin with first and a number."""
    body = b"x" * size
    for i in range(count):
        parts = [bytes.fromhex(first)] if first else []
        socket.send_multipart(parts + [b"%d" % i, body])


def sink(count, timeout):
    """Receive count messages; the numbers before the last part have to grow by one."""
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    begin = None
    for i in range(count):
        if not poller.poll(timeout):
            return {"received": i}
        parts = socket.recv_multipart()
        begin = begin or time.monotonic()
        if parts[-2] != b"%d" % i:
            return {"received": i, "wrong": parts[-2].decode()}
    return {"received": count, "seconds": time.monotonic() - begin}


for line in sys.stdin:
    request = json.loads(line)
    answer = {}
    try:
        do = request.pop("do")
        if do == "make":
            make(request["kind"], request.get("options") or {})
        elif do == "curve_server":
            socket.curve_server = True
            socket.curve_secretkey = request["secret"].encode()
            socket.curve_publickey = request["public"].encode()
        elif do == "curve_client":
            socket.curve_serverkey = request["server"].encode()
            socket.curve_secretkey = request["secret"].encode()
            socket.curve_publickey = request["public"].encode()
        elif do == "authorise":
            from zmq.auth.thread import ThreadAuthenticator

            auth = ThreadAuthenticator(context)
            auth.start()

            class Provider:
                keys = request["keys"]

                def callback(self, domain, key):
                    return key.decode() in self.keys

            auth.configure_curve_callback(domain="*", credentials_provider=Provider())
        elif do == "bind":
            answer["port"] = socket.bind_to_random_port("tcp://127.0.0.1")
        elif do == "bind_to":
            socket.bind("tcp://" + request["to"])
        elif do == "connect":
            socket.connect("tcp://" + request["to"])
        elif do == "subscribe":
            socket.subscribe(bytes.fromhex(request["topic"]))
        elif do == "unsubscribe":
            socket.unsubscribe(bytes.fromhex(request["topic"]))
        elif do == "send":
            socket.send_multipart([bytes.fromhex(p) for p in request["message"]], flags=zmq.NOBLOCK)
        elif do == "recv":
            if socket.poll(request["timeout"]):
                answer["message"] = [p.hex() for p in socket.recv_multipart()]
        elif do == "echo":
            for _ in range(request["count"]):
                socket.send_multipart(socket.recv_multipart())
        elif do == "burst":
            burst(request["count"], request["size"], request.get("first", ""))
        elif do == "sink":
            answer.update(sink(request["count"], request["timeout"]))
        elif do == "close":
            socket.close()
        else:
            answer["error"] = "unknown: " + do
    except Exception as e:
        answer["error"] = repr(e)
    print(json.dumps(answer), flush=True)

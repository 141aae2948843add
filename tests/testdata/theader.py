"""Call an agent through THeader, framed and unframed with Apache's Python runtime, which shares no code with the agent.

usage: theader.py HOST PORT NODE     exits 0 if every dialect got the answers expected of the node of that name
"""
import sys

from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.protocol.THeaderProtocol import THeaderProtocolFactory
from thrift.Thrift import TApplicationException, TMessageType, TType
from thrift.transport.THeaderTransport import THeaderSubprotocolID, THeaderTransformID
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TBufferedTransport, TFramedTransport


class Client:
    """Calls one after another over one connection, written with the protocol's primitives instead of generated code."""

    def __init__(self, protocol, header=None):
        self.protocol, self.header, self.seq = protocol, header, 0

    def call(self, method, arguments, read):
        p, self.seq = self.protocol, self.seq + 1
        p.writeMessageBegin(method, TMessageType.CALL, self.seq)
        p.writeStructBegin(method + "_args")
        for number, kind, write in arguments:
            p.writeFieldBegin("", kind, number)
            write(p)
            p.writeFieldEnd()
        p.writeFieldStop()
        p.writeStructEnd()
        p.writeMessageEnd()
        p.trans.flush()

        name, kind, seq = p.readMessageBegin()
        if kind == TMessageType.EXCEPTION:
            x = TApplicationException()
            x.read(p)
            p.readMessageEnd()
            raise x
        assert (name, kind, seq) == (method, TMessageType.REPLY, self.seq), (name, kind, seq)
        result = None
        p.readStructBegin()
        while True:
            _, kind, number = p.readFieldBegin()
            if kind == TType.STOP:
                break
            if number == 0:
                result = read(p, kind)
            else:
                p.skip(kind)
            p.readFieldEnd()
        p.readStructEnd()
        p.readMessageEnd()
        return result


def text(p, kind):
    assert kind == TType.STRING
    return p.readString()


def counters(p, kind):
    assert kind == TType.MAP
    _, _, n = p.readMapBegin()
    out = {p.readString(): p.readI64() for _ in range(n)}
    p.readMapEnd()
    return out


def keys(p, kind):
    """The keys of a Publication: field 2, map<string, Value>."""
    assert kind == TType.STRUCT
    out = []
    p.readStructBegin()
    while True:
        _, kind, number = p.readFieldBegin()
        if kind == TType.STOP:
            break
        if number == 2:
            _, _, n = p.readMapBegin()
            for _ in range(n):
                out.append(p.readString())
                skip(p, TType.STRUCT)
            p.readMapEnd()
        else:
            p.skip(kind)
        p.readFieldEnd()
    p.readStructEnd()
    return out


def skip(p, kind):
    """The runtime's own skip takes every string for UTF-8, which the store's values are not."""
    if kind == TType.STRING:
        p.readBinary()
    elif kind == TType.STRUCT:
        p.readStructBegin()
        while True:
            _, kind, _ = p.readFieldBegin()
            if kind == TType.STOP:
                break
            skip(p, kind)
            p.readFieldEnd()
        p.readStructEnd()
    else:
        p.skip(kind)


def empty_struct(p):
    p.writeStructBegin("")
    p.writeFieldStop()
    p.writeStructEnd()


def dialects(host, port):
    def connect():
        s = TSocket(host, port)
        s.setTimeout(10000)
        return s

    for name, sub in (("binary", THeaderSubprotocolID.BINARY), ("compact", THeaderSubprotocolID.COMPACT)):
        for transform in (None, THeaderTransformID.ZLIB):
            p = THeaderProtocolFactory(default_protocol=sub).getProtocol(connect())
            if transform is not None:
                p.trans.add_transform(transform)
            yield "header %s%s" % (name, "" if transform is None else " zlib"), p, p.trans
    for name, protocol in (("binary", TBinaryProtocol), ("compact", TCompactProtocol)):
        yield "framed " + name, protocol(TFramedTransport(connect())), None
        yield "unframed " + name, protocol(TBufferedTransport(connect())), None


def main(host, port, node):
    for name, protocol, header in dialects(host, port):
        (header or protocol.trans).open()
        client = Client(protocol, header)
        for _ in range(3):
            assert client.call("getMyNodeName", [], text) == node, name
        assert client.call("getCounters", [], counters)["spark.num_adjacent_neighbors"] > 0, name
        arguments = [(1, TType.STRUCT, empty_struct), (2, TType.STRING, lambda p: p.writeString("0"))]
        assert "adj:" + node in client.call("getKvStoreKeyValsFilteredArea", arguments, keys), name
        try:
            client.call("noSuchMethod", [], text)
            raise AssertionError(name + ": a method that does not exist was answered")
        except TApplicationException as x:
            assert x.type == TApplicationException.UNKNOWN_METHOD, (name, x.type)
        assert client.call("getMyNodeName", [], text) == node, name + ": after an exception"
        print("ok", name)
        (header or protocol.trans).close()


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])

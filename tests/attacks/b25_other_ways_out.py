# b25_other_ways_out
# MUST HAPPEN: no datagram, fast open, multipath or other way to a port of this machine
# EXPECT: none=SUCCESS landlock=BLOCKED namespace=BLOCKED(own netns)
import json
import os
import socket

T = json.loads(os.environ["ATTACK_TARGETS"])


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


here = ("127.0.0.1", T["port"])


def datagram(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.sendto(b"attack", address)
        return s.recv(99)


def fast_open():
    """sendto with MSG_FASTOPEN connects without connect()."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.settimeout(2)
        s.sendto(b"attack", 0x20000000, here)
        return s.recv(99)


def stream(protocol, family=socket.AF_INET, address=here):
    with socket.socket(family, socket.SOCK_STREAM, protocol) as s:
        s.settimeout(2)
        s.connect(address)
        return s.recv(99)


attempt("UDP", lambda: datagram(socket.AF_INET, here))
attempt("UDP, mapped", lambda: datagram(socket.AF_INET6, ("::ffff:127.0.0.1", T["port"])))
attempt("fast open", fast_open)
attempt("multipath", lambda: stream(262))
attempt("SCTP", lambda: stream(132))
attempt("mapped", lambda: stream(0, socket.AF_INET6, ("::ffff:127.0.0.1", T["port"])))
attempt("bind the port beside it", lambda: socket.create_server(("127.0.0.1", T["port"]), reuse_port=True) and None)

# b10_socket_families
# MUST HAPPEN: no socket but plain ones: no packet, raw, vsock or kernel crypto sockets
# EXPECT: none=SUCCESS landlock=BLOCKED namespace=BLOCKED
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


for name, family, kind, protocol in (
    ("vsock", 40, 1, 0),
    ("vsock datagrams", 40, 2, 0),
    ("packet", 17, 3, 0),
    ("raw IPv4", 2, 3, 1),
    ("raw IPv6", 10, 3, 58),
    ("kernel crypto", 38, 5, 0),
    ("key", 15, 3, 2),
    ("bluetooth", 31, 3, 1),
    ("tipc", 30, 1, 0),
    ("can", 29, 3, 1),
    ("xdp", 44, 3, 0),
    ("smc", 43, 1, 0),
    ("rds", 21, 5, 0),
    ("kcm", 41, 2, 0),
    ("phonet", 35, 2, 0),
):
    attempt(name, lambda f=family, k=kind, p=protocol: socket.socket(f, k, p) and True)
attempt("vsock pair", lambda: socket.socketpair(40, 1) and True)

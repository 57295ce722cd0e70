# b24_netlink
# MUST HAPPEN: the network of the machine must not be seen or changed through netlink
# EXPECT: none=depends (on there being a network) landlock=BLOCKED namespace=BLOCKED
import json
import os
import socket
import struct

T = json.loads(os.environ["ATTACK_TARGETS"])


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


def interfaces():
    return [name for _, name in socket.if_nameindex() if name != "lo"] or None


def loopback_down():
    """RTM_NEWLINK without a change of flags: permission is asked for all the same."""
    with socket.socket(16, 3, 0) as s:
        s.settimeout(2)
        s.send(struct.pack("IHHIIBxHiII", 32, 16, 5, 1, 0, 0, 0, 1, 0, 0))
        return struct.unpack_from("i", s.recv(4096), 16)[0] == 0


def events():
    with socket.socket(16, 3, 15) as s:
        s.bind((0, 1))
        return os.getuid() == 0 or None


attempt("interfaces", interfaces)
attempt("a change", loopback_down)
attempt("audit", lambda: socket.socket(16, 3, 9).send(b"\0" * 16) or True)
attempt("events of devices", events)

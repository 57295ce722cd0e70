# b02_abstract_socket
# MUST HAPPEN: an abstract unix socket of the harness must be unreachable
# EXPECT: none=SUCCESS landlock=BLOCKED on ABI>=6, SUCCESS below namespace=BLOCKED(own netns)
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


def stream():
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(2)
        s.connect("\0" + T["asock"].lstrip("\0@"))
        return s.recv(99)


attempt("abstract", stream)

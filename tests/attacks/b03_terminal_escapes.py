# b03_terminal_escapes
# MUST HAPPEN: control sequences in the output must not reach a terminal through the log
# EXPECT: all levels: harmless (cleaned before it is shown)
import json
import os

T = json.loads(os.environ["ATTACK_TARGETS"])


def attempt(what, act):
    try:
        done = act()
        print("ATTACK", "BLOCKED" if done in (None, False) else "SUCCESS", what, str(done)[:200], flush=True)
    except Exception as error:
        print("ATTACK BLOCKED", what, repr(error)[:200], flush=True)


for piece in (
    b"\x1b]52;c;cm0gLXJmIH4=\x07",  # clipboard
    b"\x1b]8;;file:///etc/passwd\x1b\\click\x1b]8;;\x1b\\",
    b'\x1bP$q"p\x1b\\',  # asks the terminal to type an answer
    b"\x9b31m\xc2\x9b2J",  # C1 control, raw and as UTF-8
    b"\x1b[6n\x1b[c\x1b[21t",
    b"\xe2\x80\xae gnirts \xe2\x80\xac",  # right-to-left override
    b"honest line\rATTACK was never here\x1b[2K\x1b[1A\n",
    b"\x1b[" + b"1;" * 5000 + b"m\n",
    b"\x1b" * 4096,
    b"\x1b]0;" + b"t" * 100_000,  # a title that never ends
):
    os.write(1, piece)
    os.write(2, piece)

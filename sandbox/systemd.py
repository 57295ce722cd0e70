"""Asks systemd for a control group of our own: a fresh scope, delegated to us, with this process in it.

Below systemd the tree of control groups belongs to it, and a process may only make groups in a unit that is marked as
delegated (systemd's "Control Group APIs and Delegation"). One call over its bus moves a running process into such a
unit; nothing is started anew, and the terminal stays ours.

It is asked only where the move takes nothing away. Not in a service, which would lose its main process; not in a group
made by a container or a batch system, which would lose count of us; and not where our life would become that of
the user's own systemd, which ends with the last login unless the user lingers: an agent has to live through the night.
"""

import os
import pwd
import re
import secrets
import subprocess
from pathlib import Path, PurePath

RUNS = Path("/run/systemd/system")  # there is such a folder when systemd runs the machine: sd_booted(3)
LINGER = Path("/var/lib/systemd/linger")  # a file for each user whose systemd outlives the logins
MARKS = ("trusted.delegate", "user.delegate")  # the second one for unprivileged readers, since version 251
ROOMS = re.compile(r"(session-\w+|run-\w+|agent-\w+)\.scope")  # of a login, of systemd-run, of an agent
CALL_SECONDS = 10.0
BUS = "org.freedesktop.systemd1"
CALL = ("call", BUS, f"/{BUS.replace('.', '/')}", f"{BUS}.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))")


class NotDelegated(Exception):
    """No control groups can be made here. The message says why, `advice` what would help."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(why)
        self.advice = advice


def command(user: int) -> str:
    """The advice to start the agent in a delegated scope."""
    manager = "" if user == 0 else "--user "
    return f"start it as `systemd-run {manager}--scope -p Delegate=yes agent ...`"


def delegated(group: Path) -> bool:
    """Whether systemd has delegated a group: it marks those of the system; about those of a user it has to be asked."""
    for mark in MARKS:
        try:
            if os.getxattr(group, mark) == b"1":
                return True
        except OSError:  # no such mark, or not for us to read
            continue
    if not below(group, os.getuid()):
        return False
    try:
        return asked(["systemctl", "--user", "show", "--property=Delegate", "--value", group.name]).strip() == "yes"
    except NotDelegated:  # we are about to ask again, for more, and tell why not
        return False


def below(group: PurePath, user: int) -> bool:
    """Whether a group belongs to the user's own systemd."""
    return f"user@{user}.service" in group.parts


def asked(line: list[str]) -> str:
    """What a command of systemd says.

    Raises:
        NotDelegated: it cannot be run, or refuses.
    """
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=CALL_SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotDelegated(f"systemd cannot be asked for a control group: {error}", command(os.getuid())) from error
    if done.returncode != 0:
        raise NotDelegated(f"systemd gives no control group: {done.stderr.strip()}", command(os.getuid()))
    return done.stdout


def check(group: PurePath, user: int, lingers: bool) -> None:
    """Whether this process may be moved out of `group`.

    Raises:
        NotDelegated: the move would take something away.
    """
    own = below(group, user)
    if group.name.endswith(".service"):
        advice = "add `Delegate=yes` to that unit, and let it run nothing but the agent"
        raise NotDelegated(f"this process belongs to {group.name}, which is not delegated to it alone", advice)
    if not (group.name.endswith(".scope") and (own or ROOMS.fullmatch(group.name))):
        raise NotDelegated(f"the control group {group} belongs to others", command(user))
    if user != 0 and not (own or lingers):
        why = "a scope of your own systemd would end with your last login, and the agent with it"
        raise NotDelegated(why, f"run `loginctl enable-linger` once, or {command(user)} and stay logged in")


def own_scope(group: PurePath) -> str:
    """Has this process moved into a fresh scope that is delegated to it; answers the scope's name.

    The move itself happens a little later. Only this process is moved, not those it has started.

    Raises:
        NotDelegated: the move would take something away, or systemd does not do it.
    """
    user = os.getuid()
    check(group, user, (LINGER / name_of(user)).exists())
    scope = f"agent-{secrets.token_hex(6)}.scope"
    wishes = ("PIDs", "au", "1", str(os.getpid()), "Delegate", "b", "true", "CollectMode", "s", "inactive-or-failed")
    bus = "--system" if user == 0 else "--user"
    asked(["busctl", bus, "--quiet", *CALL, scope, "fail", "3", *wishes, "0"])
    return scope


def name_of(user: int) -> str:
    """The name of a user; the number where it has none."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)

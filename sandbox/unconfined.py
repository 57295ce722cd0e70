"""The jail that is none: for machines where nothing better works, and for trusted programs (data, judge).

It keeps time, output and host memory (by the watchdog), gives the program a clean environment and a home and temporary
folder of its own inside the work folder (the machine's /tmp where that path would be too long), and shows mounts as
symbolic links. It does not keep the program from any file, network or process that its user can reach; and although
everything that an honest program starts is found and ended, one that kills its stub and hides its environment can
outlive the run: SURVIVORS is therefore not promised.
"""

from dataclasses import dataclass
from pathlib import Path

from sandbox import launch
from sandbox.spec import Promise, Spec

PRIVATE = ".sandbox"  # folder in the work folder for home and temporary files
LONGEST_TEMPORARY = 70  # Python's worker processes put sockets there, and the path of a socket ends at 107


@dataclass(frozen=True)
class Unconfined:
    """No jail: limits and an end, but no walls.

    Attributes:
        home: the home folder the program gets; None for an empty one of its own. A trusted program may have the
            user's.
    """

    name: str = "none"
    own_user: bool = False
    home: Path | None = None
    short: str = ""  # it is what was asked for

    def promises(self) -> frozenset[Promise]:
        """Only what the supervisor itself keeps."""
        return frozenset({Promise.TIME, Promise.MEMORY, Promise.OUTPUT})

    def wrap(self, spec: Spec) -> list[str]:
        """The stub as a plain child process."""
        home, temporary = self.home or spec.work / PRIVATE / "home", spec.work / PRIVATE / "tmp"
        if len(str(temporary)) > LONGEST_TEMPORARY:
            temporary = Path("/tmp")
        env = launch.environment(spec, str(home), str(temporary))
        places = ["--folder", str(temporary)] if self.home else ["--folder", str(home), "--folder", str(temporary)]
        for mount in spec.mounts:
            target = link_target(mount.target, spec.work, home)
            if target != mount.source:
                places += ["--link", str(mount.source), str(target)]
        return launch.command(spec, launch.PACKAGE, env, places)


def link_target(target: str, work: Path, home: Path) -> Path:
    """Where the link of a mount goes: `~/x` below the private home, relative paths below the work folder."""
    return home / target[2:] if target.startswith("~/") else work / target

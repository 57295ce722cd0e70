"""The command `agent`: parses the command line and turns errors into one sentence and an exit code.

Exit codes: 0 done; 1 the house failed, or the script does not run as it is; 2 the input is off; 130 stopped by the
user.
"""

import errno
import sys

import click

from agent.commands import bench, models, reading, running, saying, starting
from agent.errors import AgentError

_DISK = {
    errno.ENOSPC: "make room, then `agent resume` goes on",
    errno.EDQUOT: "make room, then `agent resume` goes on",
    errno.EROFS: "make it writable, or choose another folder",
    errno.EACCES: "make it accessible, or choose another folder",
    errno.EPERM: "make it accessible, or choose another folder",
    errno.EIO: "look after the disk, then `agent resume` goes on",
}


class Commands(click.Group):
    """Lists commands in the order of use rather than of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands as they were added."""
        return list(self.commands)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="autoresearch-agent", prog_name="agent")
def cli() -> None:
    """Improve a training script while you sleep: propose a change, train it in a sandbox, keep what beats the noise."""


for command in (
    running.run,
    running.resume,
    saying.note,
    reading.status,
    reading.log,
    reading.show,
    reading.diff,
    reading.best,
    reading.verify,
    starting.init,
    starting.space,
    models.models,
    starting.doctor,
    bench.bench,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line and exit."""
    from sandbox.spec import SandboxError

    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = 2
    except click.ClickException as error:
        code = _fail(_usage(error), 2)
    except click.Abort:
        code = _fail("stopped", 130)
    except (AgentError, SandboxError) as error:
        code = _fail(str(error), getattr(error, "exit_code", 1))
    except OSError as error:
        if error.errno not in _DISK:
            raise
        code = _fail(
            f"{error.filename or 'writing failed'}: {error.strerror}: nothing is lost, {_DISK[error.errno]}", 1
        )
    sys.exit(code if isinstance(code, int) else 0)


def _fail(sentence: str, code: int) -> int:
    click.echo(f"agent: {sentence}", err=True)
    return code


def _usage(error: click.ClickException) -> str:
    """click's complaint in one line."""
    sentence = " ".join(error.format_message().split()).rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{sentence}; `{context.command_path} --help` explains" if context else sentence

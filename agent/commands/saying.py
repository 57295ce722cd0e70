"""`agent note`: a word to a run while it runs."""

from pathlib import Path

import click

from agent.commands.options import runs_dir


@click.command()
@click.argument("run")
@click.argument("text", required=False)
@click.option("--ban", is_flag=True, help="TEXT is never to be tried: it stays in every prompt.")
@click.option("--pause", is_flag=True, help="Open no further trial until --go-on; the budget's clock goes on.")
@click.option("--go-on", is_flag=True, help="End a pause.")
@click.option("--stop", is_flag=True, help="Finish the running trial, then end; `agent resume` goes on.")
@runs_dir
def note(run: str, text: str | None, runs_dir: Path, **words: bool) -> None:
    """Say TEXT to RUN: it stands in the next prompts and in the journal."""
    from agent.errors import UsageError
    from agent.history.events import Word
    from agent.history.inbox import Inbox
    from agent.reading import find_run, open_run
    from agent.ui.visible import visible

    chosen = [word for word in Word if words.get(word)] or [Word.NOTE]
    if len(chosen) > 1:
        raise UsageError("choose one of --ban, --pause, --go-on and --stop")
    word, text = chosen[0], visible(text or "").strip()
    needs_text = word in (Word.NOTE, Word.BAN)
    if needs_text and not text:
        raise UsageError(f'write a text: `agent note RUN {"--ban " if word is Word.BAN else ""}"try less warm-up"`')
    if text and not needs_text:
        raise UsageError(f"--{word.replace('_', '-')} takes no text: leave {text!r} out")
    found = open_run(find_run(run, runs_dir))
    if word is Word.STOP and not found.live:
        raise UsageError(f"{found.folder.name} is not running: there is nothing to stop")
    Inbox(found.folder).leave(word, text)
    soon, later = "hears it within a second, or after the answer it waits for", "hears it when it is resumed"
    click.echo(f"{found.folder.name} {soon if found.live else later}")

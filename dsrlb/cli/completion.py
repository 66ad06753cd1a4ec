"""``dsrlb completion``: what a shell reads to complete dsrlb's commands, options and values."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_DSRLB_COMPLETE"  # by which click knows that a shell asks; of the program's name


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what completes dsrlb's commands, options and values in a shell.

    \b
    bash:  dsrlb completion bash > /usr/share/bash-completion/completions/dsrlb
    zsh:   dsrlb completion zsh > /usr/share/zsh/vendor-completions/_dsrlb
    fish:  dsrlb completion fish > /usr/share/fish/vendor_completions.d/dsrlb.fish

    For one shell alone: eval "$(dsrlb completion bash)". It needs bash 4.4 or later.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this click cannot complete in {shell}: install click 8.1 or later")
    # Not source(): for bash that runs one to ask its version, and where packages are built there may be none.
    complete = kind(ctx.find_root().command, {}, "dsrlb", VARIABLE)
    click.echo(complete.source_template % complete.source_vars())

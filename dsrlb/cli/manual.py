r"""The manual page dsrlb(8), out of the command line itself: ``python -m dsrlb.cli.manual > dsrlb.8``.

click-man makes a page for each command, in section 1, and neither escapes a line that begins with a full stop
nor knows click's ``\b``: so this one is dsrlb's own.

*Source*: man-pages(7), groff_man(7) for the macros; SOURCE_DATE_EPOCH by reproducible-builds.org.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from inspect import cleandoc

import click

from dsrlb import __version__
from dsrlb.cli import cli
from dsrlb.cli.completion import VARIABLE

AS_IT_IS = "\b"  # click: the lines of the paragraph after it are not filled
EXIT_CODES = (
    ("0", "Fine; dsrlb serve was stopped by SIGTERM or SIGINT."),
    ("1", "It failed; dsrlb backend verify: a step is missing; dsrlb doctor: something is wrong."),
    ("2", "Usage: an option or a value is malformed."),
    ("3", "Configuration: it cannot work here."),
    ("4", "A privilege or a kernel feature is missing."),
)
FILES = (
    ("/etc/dsrlb.toml", "What the systemd unit serves."),
    ("/run/dsrlb/INSTANCE.sock", "Where dsrlb show, drain, top and the like ask a running dsrlb."),
    ("/var/lib/dsrlb", "What is to hold over restarts."),
)


def escaped(text: str) -> str:
    """Return text as roff that prints it as it is: nothing in it is taken as a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)


def paragraphs(text: str) -> Iterator[str]:
    """Yield a help text as roff, a paragraph after the other; what click would not fill is not filled."""
    for part in re.split(r"\n\s*\n", cleandoc(text)):
        lines = part.splitlines()
        if lines[0].strip() == AS_IT_IS:
            yield "\n".join([".PP", ".nf", escaped("\n".join(lines[1:])), ".fi"])
        elif part.strip():
            yield f".PP\n{escaped(' '.join(part.split()))}"


def item(term: str, text: str) -> str:
    """Return one entry of a list: the term in bold, the text indented below it."""
    return f".TP\n\\fB{escaped(term)}\\fR\n{escaped(' '.join(text.split()))}"


def options(ctx: click.Context) -> Iterator[str]:
    """Yield the options and arguments of a command, as its --help tells them."""
    for parameter in ctx.command.get_params(ctx):
        told = parameter.get_help_record(ctx)
        if told is not None and "--help" not in parameter.opts:
            yield item(*told)


def commands(ctx: click.Context) -> Iterator[click.Context]:
    """Yield the context of each command that has no commands of its own, in the order of --help."""
    group = ctx.command
    if not isinstance(group, click.Group):
        yield ctx
        return
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if command is not None and not command.hidden:
            yield from commands(click.Context(command, info_name=name, parent=ctx))


def section(ctx: click.Context) -> Iterator[str]:
    """Yield the part about one command: how it is called, what it does, its options."""
    usage = " ".join([ctx.command_path, *ctx.command.collect_usage_pieces(ctx)])
    yield f".SS {escaped(usage)}"
    yield from paragraphs(ctx.command.help or "")
    yield from options(ctx)


def date() -> str:
    """Return the day of the page: of SOURCE_DATE_EPOCH where it is set, so that a build can be repeated."""
    return time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))


def page() -> str:
    """Return the whole page."""
    ctx = click.Context(cli, info_name="dsrlb")
    purpose = (cli.help or "").strip().rstrip(".")
    parts = [
        f'.TH DSRLB 8 "{date()}" "dsrlb {escaped(__version__)}" "System Administration"',
        f".SH NAME\ndsrlb \\- {escaped(purpose[0].lower() + purpose[1:])}",
        ".SH SYNOPSIS\n\\fBdsrlb\\fR [\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]...",
        ".SH OPTIONS",
        *options(ctx),
        item("-h, --help", "Show what dsrlb, or one of its commands, can do, and exit."),
        ".SH COMMANDS",
        *(line for each in commands(ctx) for line in section(each)),
        ".SH EXIT STATUS",
        *(item(*entry) for entry in EXIT_CODES),
        ".SH FILES",
        *(item(*entry) for entry in FILES),
        ".SH ENVIRONMENT",
        item(VARIABLE, "Set by shells that complete; see dsrlb completion."),
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    click.echo(page(), nl=False)

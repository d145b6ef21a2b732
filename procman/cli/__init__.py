"""The face: one file per command or family; each parses, calls and prints."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence

import click

from procman import __version__
from procman.cli.options import common_options, remember
from procman.errors import ProcmanError

# Name → module and attribute: a command is imported when it is used, and only then.
COMMANDS = {
    "start": ("procman.cli.start", "start"),
    "ps": ("procman.cli.ps", "ps"),
    "top": ("procman.cli.top", "top"),
    "scale": ("procman.cli.steer", "scale"),
    "restart": ("procman.cli.steer", "restart"),
    "stop": ("procman.cli.steer", "stop"),
    "signal": ("procman.cli.steer", "signal"),
    "idle": ("procman.cli.sleep", "idle"),
    "wake": ("procman.cli.sleep", "wake"),
    "logs": ("procman.cli.logs", "logs"),
    "attach": ("procman.cli.attach", "attach"),
    "wait": ("procman.cli.steer", "wait"),
    "run": ("procman.cli.run", "run"),
    "export": ("procman.cli.export", "export"),
    "slug": ("procman.cli.slug", "slug"),
    "deploy": ("procman.cli.deploy", "deploy"),
    "releases": ("procman.cli.deploy", "releases"),
    "rollback": ("procman.cli.deploy", "rollback"),
    "git": ("procman.cli.git", "git"),
    "smoke": ("procman.cli.smoke", "smoke"),
    "check": ("procman.cli.check", "check"),
    "completion": ("procman.cli.completion", "completion"),
}

# What helps when there is no more of something.
_HINTS = {
    errno.EMFILE: "`ulimit -n` tells how many may be open at once, and raises it",
    errno.EAGAIN: "`ulimit -u` tells how many processes you may have",
}


class LazyGroup(click.Group):
    """A group whose commands are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table, which is the order of a tour."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None for a name that there is not."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest right name for a wrong one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from procman.core.formation import nearest

            close = nearest(args[0], list(COMMANDS))
            hint = "" if close is None else f" Did you mean {close!r}?"
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "--version", message="procman %(version)s")
@common_options
@click.pass_context
def cli(ctx: click.Context, /, **options: object) -> None:
    """Run a Procfile application on this machine the way Heroku runs it, better."""
    remember(ctx, options)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. Every error is printed here, once, and becomes the exit status."""
    try:
        status = cli.main(arguments, prog_name="procman", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except ProcmanError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except OSError as error:  # mostly of standard output, whose disk is full
        place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        hint = _HINTS.get(error.errno or 0)
        print_error(ProcmanError(f"{place}{error.strerror or error}", hint=hint))
        _silence_stdout()
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def print_error(error: ProcmanError) -> None:
    """`procman: message`, and the hint below it."""
    click.echo(f"procman: {error.message}", err=True)
    if error.hint is not None:
        click.echo(f"  hint: {error.hint}", err=True)


def _silence_stdout() -> None:
    """Python flushes stdout at exit, and would complain of the full disk once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

"""`plan completion`: the script by which a shell completes commands, options and the names of GPUs and models."""

from __future__ import annotations

import click

from planner.cli.command import command
from planner.cli.printing import tell


@command(
    "completion",
    epilog="\b\nbash: plan completion bash > ~/.local/share/bash-completion/completions/plan\n"
    "zsh:  plan completion zsh > a file _plan in a folder of $fpath, before compinit\n"
    "fish: plan completion fish > ~/.config/fish/completions/plan.fish\n"
    'or, in bash, for this shell alone: eval "$(plan completion bash)"',
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, /, shell: str) -> None:
    """Print the completion script of a SHELL: commands, options, and the names of GPUs and models."""
    from click.shell_completion import get_completion_class

    completion = get_completion_class(shell)
    if completion is not None:
        tell(completion(ctx.find_root().command, {}, "plan", "_PLAN_COMPLETE").source())

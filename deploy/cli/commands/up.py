"""``weir up``: start the embedded stack."""

import json
import time

import click

from deploy.cli.context import CommandContext, pass_context, say


@click.command()
@click.option("--taskmanagers", type=click.IntRange(0), help="TaskManagers.  [default: the parallelism and a spare]")
@click.option(
    "--taskmanager-heap-mib",
    type=click.IntRange(512),
    default=1536,
    show_default=True,
    help="Java heap of each TaskManager, which holds the state of jobs, and copies of it during checkpoints.",
)
@click.option("--without-flink", is_flag=True, help="Start Kafka and Redis only.")
@click.option("--transaction-partitions", type=click.IntRange(1), default=4, show_default=True, help="For a new topic.")
@click.option(
    "--service",
    "services",
    multiple=True,
    type=click.Choice(["multimodal", "text", "vision"]),
    help="Also start this side service; several times for several.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as JSON.")
@pass_context
def command(
    context: CommandContext,
    taskmanagers: int | None,
    taskmanager_heap_mib: int,
    without_flink: bool,
    transaction_partitions: int,
    services: tuple[str, ...],
    as_json: bool,
) -> None:
    """Start Kafka, Flink and Redis on this machine, and make the topics.

    Everything runs on free loopback ports, with its data under .weir. The first time, the broker's jars are fetched by
    Maven (about 60 MB). A stack that runs already is left as it is.
    """
    from deploy.local.flink import FlinkMemory
    from deploy.local.stack import LocalStack, StackOptions

    settings = context.settings()
    options = StackOptions(
        taskmanagers=settings.parallelism + 1 if taskmanagers is None else taskmanagers,
        with_flink=not without_flink,
        topic_prefix=settings.topic_prefix,
        partitions={"transactions": transaction_partitions},
        checkpoint_interval_seconds=settings.checkpoint_interval_seconds,
        buffer_timeout_ms=settings.buffer_timeout_ms,
        services=services,
        flink_memory=FlinkMemory(task_heap=taskmanager_heap_mib - FlinkMemory.framework_heap),
        keeper=True,
    )
    started = time.monotonic()
    stack = LocalStack(settings.home_dir, options, progress=say)
    state = stack.up()
    say(f"up after {time.monotonic() - started:.1f} s; stop it with 'weir down'")
    addresses = {key: state.get(key) for key in ("bootstrap_servers", "flink_rest_url", "redis_url")}
    running = {name: stack.service_url(name) for name in state.get("services", {})}
    for name in sorted(set(services) - running.keys()):
        stack.start_service(name)  # the stack ran already, without it
        running[name] = stack.service_url(name)
    if as_json:
        click.echo(json.dumps({**addresses, "services": running}))
    else:
        for key, value in addresses.items():
            click.echo(f"{key:<18} {value or '-'}")
        for name, url in running.items():
            click.echo(f"{'service ' + name:<18} {url}")

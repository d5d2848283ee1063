"""``weir status``: what runs, where, and how far behind it is."""

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table

from deploy.cli.context import CommandContext, pass_context
from jobs.settings import Settings, kafka_properties

SCORING_JOB, LEARNER_JOB = "score-transactions", "update-learners"
METADATA_SECONDS = 3.0  # a broker that is up answers within milliseconds


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@pass_context
def command(context: CommandContext, as_json: bool) -> None:
    """Show what runs, where, how far behind the scoring job is, and its checkpoints.

    Lag is counted from the offsets that the job commits with each checkpoint, so it moves in steps of the checkpoint
    interval. Exit status 1 if something that should run does not.
    """
    from deploy.local.stack import LocalStack

    settings = context.settings()
    found = gather(settings, LocalStack(settings.home_dir).status())
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        show(found)
    raise SystemExit(0 if found["is_healthy"] else 1)


def gather(settings: Settings, stack: dict[str, Any]) -> dict[str, Any]:
    """Ask every service; one that does not answer is told as such and does not stop the others from being asked."""
    kafka = _kafka(settings)
    flink = _flink(settings)
    redis = _redis(settings)
    services = (kafka, flink, *([redis] if settings.redis_url else []))
    dead = [process["name"] for process in stack["processes"] if not process["alive"]]
    healthy = not dead and all(service["answers"] for service in services)
    healthy = healthy and all(job["state"] == "RUNNING" for job in flink["jobs"])
    risk_labels = risk_labels_of(settings, {job["name"] for job in flink["jobs"]})
    healthy = healthy and "problem" not in risk_labels
    return {
        "is_healthy": healthy, "stack": stack, "kafka": kafka, "flink": flink, "redis": redis,
        "risk_labels": risk_labels,
    }  # fmt: skip


def risk_labels_of(settings: Settings, jobs: set[str]) -> dict[str, str]:
    """Tell which labels the risk features count by the settings, and whether any can come."""
    found: dict[str, str] = {"counted": settings.risk_labels, "topic": settings.risk_labels_topic}
    if settings.risk_labels == "matured" and SCORING_JOB in jobs and LEARNER_JOB not in jobs:
        found["problem"] = (
            "no learner job runs, so no label matures and the risk features count no new one: 'weir learn' starts it; "
            "or set risk_labels to raw and submit the scoring job again"
        )
    return found


def _kafka(settings: Settings) -> dict[str, Any]:
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    topic = settings.topics.transactions
    result: dict[str, Any] = {"address": settings.bootstrap_servers, "answers": False, "topic": topic, "partitions": []}
    # log_level 0: that the broker is away is said by the table, once
    properties = kafka_properties(settings, group_id=settings.group_id, enable_auto_commit=False)
    consumer = Consumer({**properties, "log_level": 0})
    try:
        known = consumer.list_topics(timeout=METADATA_SECONDS).topics
        result["answers"] = True
        if topic not in known:
            result["problem"] = f"topic {topic} does not exist: 'weir up' makes it, or an administrator"
            return result
        places = [TopicPartition(topic, number) for number in sorted(known[topic].partitions)]
        for place in consumer.committed(places, timeout=5.0):
            first, end = consumer.get_watermark_offsets(place, timeout=5.0)
            committed = place.offset if place.offset >= 0 else None
            lag = end - (first if committed is None else committed)
            result["partitions"].append(
                {"partition": place.partition, "end": end, "committed": committed, "lag": max(0, lag)}
            )
    except KafkaException as error:
        result["problem"] = error.args[0].str()
    finally:
        consumer.close()
    return result


def _flink(settings: Settings) -> dict[str, Any]:
    from deploy.local.errors import SubmissionError
    from deploy.local.submit import FlinkRest

    result: dict[str, Any] = {"address": settings.flink_rest_url, "answers": False, "jobs": []}
    rest = FlinkRest(settings.flink_rest_url, timeout_seconds=5.0)
    try:
        overview = rest.overview()
        result.update(
            answers=True,
            taskmanagers=overview["taskmanagers"],
            slots=overview["slots-total"],
            free_slots=overview["slots-available"],
        )
        result["jobs"] = [_job(rest, job) for job in rest.running_jobs()]
    except SubmissionError as error:
        result["problem"] = str(error)
    return result


def _job(rest: Any, job: dict[str, Any]) -> dict[str, Any]:
    checkpoints = rest.checkpoints(job["jid"])
    latest = (checkpoints.get("latest") or {}).get("completed") or {}
    return {
        "id": job["jid"],
        "name": job["name"],
        "state": job["state"],
        "running_seconds": job["duration"] / 1000,
        "tasks_running": job["tasks"]["running"],
        "tasks_total": job["tasks"]["total"],
        "checkpoints_completed": checkpoints["counts"]["completed"],
        "checkpoints_failed": checkpoints["counts"]["failed"],
        "restarts_from_checkpoint": checkpoints["counts"]["restored"],
        "last_checkpoint_ms": latest.get("end_to_end_duration"),
        "last_checkpoint_bytes": latest.get("state_size"),
        "newest_failure": rest.failure(job["jid"]).split("\n")[0] or None,
    }


def _redis(settings: Settings) -> dict[str, Any]:
    if settings.redis_url is None:
        return {"address": None, "answers": False}
    import redis

    client = redis.Redis.from_url(settings.redis_url, socket_timeout=2.0, socket_connect_timeout=2.0)
    address = settings.masked()["redis_url"]
    try:
        return {"address": address, "answers": True, "keys": int(client.dbsize())}
    except redis.RedisError as error:
        return {"address": address, "answers": False, "problem": str(error)}
    finally:
        client.close()


def show(found: dict[str, Any]) -> None:
    """Print tables for people."""
    console = Console()
    services = Table("service", "address", "state", title="services", title_justify="left")
    for name in ("kafka", "flink", "redis"):
        service = found[name]
        if not service["address"]:
            state = "not set"
        else:
            state = "[green]answers[/]" if service["answers"] else "[red]no answer[/]"
        if name == "flink" and service["answers"]:
            slots = f"{service['free_slots']} of {service['slots']} slots free"
            state += f", {service['taskmanagers']} TaskManagers, {slots}"
        services.add_row(name, service["address"] or "-", state)
    console.print(services)
    for name in ("kafka", "flink", "redis"):
        if problem := found[name].get("problem"):
            console.print(f"[red]{name}[/]: {problem}")
    labels = found["risk_labels"]
    console.print(f"risk features count {labels['counted']} labels, of {labels['topic']}")
    if problem := labels.get("problem"):
        console.print(f"[red]risk labels[/]: {problem}")

    if processes := found["stack"]["processes"]:
        table = Table(
            "process", "pid", "state", Column("output", overflow="fold"), title="embedded stack", title_justify="left"
        )
        for process in processes:
            alive = "[green]runs[/]" if process["alive"] else "[red]dead[/]"
            table.add_row(process["name"], str(process["pid"]), alive, process["log"])
        console.print(table)

    jobs = Table(
        Column("job", overflow="fold"),
        "state",
        "tasks",
        "checkpoints",
        "last",
        "restarts",
        title="jobs",
        title_justify="left",
    )
    for job in found["flink"]["jobs"]:
        last = "-"
        if job["last_checkpoint_ms"] is not None:
            last = f"{job['last_checkpoint_ms']} ms, {job['last_checkpoint_bytes'] / 1e6:.1f} MB"
        jobs.add_row(
            f"{job['name']}\n{job['id']}",
            job["state"],
            f"{job['tasks_running']}/{job['tasks_total']}",
            f"{job['checkpoints_completed']} done, {job['checkpoints_failed']} failed",
            last,
            str(job["restarts_from_checkpoint"]),
        )
    if found["flink"]["jobs"]:
        console.print(jobs)
        for job in found["flink"]["jobs"]:
            if job["newest_failure"]:
                console.print(f"newest failure: {job['newest_failure']}", markup=False)
    elif found["flink"]["answers"]:
        console.print("no job runs; 'weir score' submits one")

    if found["kafka"]["partitions"]:
        lag = Table("partition", "end", "committed", "lag", title=found["kafka"]["topic"], title_justify="left")
        for row in found["kafka"]["partitions"]:
            committed = "-" if row["committed"] is None else f"{row['committed']:,}"
            lag.add_row(str(row["partition"]), f"{row['end']:,}", committed, f"{row['lag']:,}")
        console.print(lag)

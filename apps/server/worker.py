"""Works on one job, in a process of its own: `python -m apps.server.worker ftjob-…`. What it does is in `server.db` and the registry.

It may be killed at any moment: started again, it goes on from the training's last checkpoint and ends with the same weights.
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from apps.server import methods, queue, results, together
from apps.server.database import Database, Row, new_id
from apps.server.errors import ApiError
from apps.server.validation import Invalid, validated
from chains.errors import ChaintuneError, UsageError
from chains.home import home
from chains.models import registry

KEPT_CHECKPOINTS = 3


class Cancelled(Exception):
    """The job is not wanted any more."""


def work(db: Database, job_id: str) -> None:
    """Bring one job to its end, or to where it was asked to stop."""
    others = together.Others()
    queue.update(db, job_id, taken=1)
    try:
        job = queue.get(db, job_id)
        if job["status"] not in queue.ACTIVE:  # cancelled or paused while this process began
            return
        if job["status"] == "validating_files":
            _validate(db, job)
        _train(db, queue.get(db, job_id), others)
    except Invalid as error:
        queue.fail(db, job_id, error.code, str(error), error.param)
    except Cancelled:
        _cancelled(db, job_id)
    except KeyboardInterrupt:
        _stopped(db, job_id)
    except ApiError as error:  # a file that has expired meanwhile
        queue.fail(db, job_id, "invalid_training_file", error.message, "training_file")
    except ChaintuneError as error:
        queue.fail(db, job_id, "training_failed", str(error).replace(f"{home()}/", ""))
    finally:
        others.dismiss()
        if (job := queue.get(db, job_id))["status"] in queue.ENDED:
            methods.forget_data(job)
        queue.update(db, job_id, taken=0)


def _validate(db: Database, job: Row) -> None:
    chosen, tokens = validated(db, job)
    with db.transaction():
        values = json.dumps(chosen)
        queue.update(db, job["id"], hyperparameters=values, trained_tokens=tokens, status="queued")
        queue.event(db, job["id"], "Files validated, moving job to queued state")


def _train(db: Database, job: Row, others: together.Others) -> None:
    _obey(db, job["id"])
    with db.transaction():
        if job["status"] != "running":
            queue.update(db, job["id"], status="running")
            queue.event(db, job["id"], "Fine-tuning job started")
    if not (registry.folder(job["result_name"]) / registry.META).exists():  # else it was published, and then killed
        others.call()
        methods.train(db, job, lambda at: _report(db, job["id"], at), _keeper(db, job))
    _succeed(db, job)


def _report(db: Database, job_id: str, at: Any) -> None:
    told = "".join(f", {name}={at.metrics[name]:.4f}" for name in ("reward", "validation_reward") if name in at.metrics)
    message = f"Step {at.step}/{at.steps}: training loss={at.metrics['loss']:.4f}{told}"
    queue.event(db, job_id, message, {"step": at.step, "total_steps": at.steps, **results.named(at.metrics)})
    _obey(db, job_id)


def _obey(db: Database, job_id: str) -> None:
    """Stop where that is wanted: a pause as Ctrl-C does, which saves a checkpoint and stops all processes at the same step."""
    wanted = queue.get(db, job_id)["wanted"]
    if wanted == "cancel" and not together.started():
        raise Cancelled
    if wanted:
        signal.raise_signal(signal.SIGINT)


def _keeper(db: Database, job: Row) -> Any:
    def keep(step: int, model: Any, tokenizer: Any, metrics: dict[str, float]) -> None:
        name = f"{job['result_name']}:ckpt-step-{step}"
        if db.rows("SELECT id FROM checkpoints WHERE model = ?", (name,)):
            return
        meta = {
            "kind": "chat",
            "method": methods.STAGES[job["method"]],
            "base": registry.root_base(job["model"]),
            "parents": [job["model"]],
        }
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with registry.publish(name, {**meta, "created": created}) as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        told = {"step": step, **results.named(metrics)}
        with db.transaction():
            db.add("checkpoints", id=new_id("ftckpt_"), job=job["id"], created_at=int(time.time()), step=step, model=name,
                   metrics=json.dumps(told))  # fmt: skip
            db.write("INSERT OR REPLACE INTO models VALUES (?, ?)", (name, job["owner"]))
            queue.event(db, job["id"], f"Checkpoint created at step {step}")
            queue.update(db, job["id"], crashes=0)  # it gets on
        _drop_old(db, job["id"])

    return keep


def _drop_old(db: Database, job_id: str) -> None:
    for old in queue.checkpoints(db, job_id)[KEPT_CHECKPOINTS:]:
        db.write("DELETE FROM checkpoints WHERE id = ?", (old["id"],))
        if (registry.folder(old["model"]) / registry.META).exists():
            registry.remove(old["model"])


def _succeed(db: Database, job: Row) -> None:
    metrics = registry.folder(job["result_name"]) / "metrics.jsonl"
    result = results.add(db, job["owner"], metrics)
    with db.transaction():
        db.write("INSERT OR REPLACE INTO models VALUES (?, ?)", (job["result_name"], job["owner"]))
        queue.event(db, job["id"], f"New fine-tuned model created: {job['result_name']}")
        queue.end(db, job["id"], "succeeded", "The job has successfully completed", result_file=result["id"])


def _stopped(db: Database, job_id: str) -> None:
    """A pause or cancel that was asked for; any other interruption leaves the job as it is, to be gone on with."""
    wanted = queue.get(db, job_id)["wanted"]
    if wanted == "cancel":
        _cancelled(db, job_id)
    elif wanted == "pause":
        with db.transaction():
            queue.update(db, job_id, status="paused", wanted="")
            queue.event(db, job_id, "The job was paused")


def _cancelled(db: Database, job_id: str) -> None:
    with db.transaction():
        queue.end_now(db, job_id)
    _forget_run(queue.get(db, job_id), db)


def _forget_run(job: Row, db: Database) -> None:
    """Remove the checkpoints of a training that nobody wants."""
    import shutil

    if isinstance(json.loads(job["hyperparameters"]).get("n_epochs"), int):
        shutil.rmtree(methods.run_of(db, job).folder, ignore_errors=True)


def main(job_id: str) -> None:
    """Work on the job `job_id` of this CHAINTUNE_HOME."""
    db = Database()
    try:
        together.follow(db, job_id) if together.led() else work(db, job_id)
    except UsageError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main(sys.argv[1])

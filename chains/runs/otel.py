"""Runs as OpenTelemetry traces, for Jaeger, Grafana, Langfuse and whatever else reads OTLP.

    runs.to_spans(path="spans.jsonl")       # a line a run: OTLP's JSON, as the collector's file receiver reads it

A run is a span, its steps are spans below it. The attributes have the names of the GenAI semantic conventions
(opentelemetry.io/docs/specs/semconv/gen-ai): a model's call is the operation `chat`, any other run `invoke_workflow`. What was said goes
along only with `content`, as the conventions have it: prompts and answers are private.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chains.errors import UsageError
from chains.home import write_file
from chains.runs.dataset import chosen
from chains.runs.read import Run
from chains.runs.record import to_json

_SETTINGS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "max_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
    "stop": "gen_ai.request.stop_sequences",
}
_OWN = ("starter", "ft:", "hf:", "fake")  # names of models that run in this process
_INTERNAL, _CLIENT = 1, 3  # kinds of span
_OK, _ERROR = 1, 2  # its status


def to_spans(
    feedback: int | None = None, content: bool = False, path: str | Path | None = None
) -> list[dict[str, Any]]:
    """Return a trace in OTLP's JSON for each run, oldest first, as `to_dataset` chooses them; with `path`, also write them there, a line each.

    Raises UsageError where a file is asked for and no run was chosen.
    """
    found = [_trace(run, content) for run in chosen(feedback) if run.parent is None]
    if path is not None:
        if not found:
            raise UsageError("no run was chosen, so there is nothing to write")
        write_file(Path(path), "".join(to_json(trace) + "\n" for trace in found))
    return found


def _trace(run: Run, content: bool) -> dict[str, Any]:
    spans = list(_spans(run, _hex(run.id, 32), run.session, content))
    resource = {"attributes": [_attribute("service.name", "chaintune")]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "chains"}, "spans": spans}]}]}


def _spans(run: Run, trace: str, session: str | None, content: bool) -> Iterator[dict[str, Any]]:
    called = run.messages is not None
    span: dict[str, Any] = {
        "traceId": trace,
        "spanId": _hex(run.id, 16),
        "name": f"chat {run.model}" if called else run.name,
        "kind": _CLIENT if called else _INTERNAL,
        "startTimeUnixNano": str(int(run.started * 1e9)),
        "endTimeUnixNano": str(int(run.ended * 1e9)),
        "attributes": [_attribute(name, value) for name, value in _about(run, session, content).items()],
        "status": {"code": _ERROR, "message": run.error} if run.error else {"code": _OK},
    }
    if run.parent is not None:
        span["parentSpanId"] = _hex(run.parent, 16)
    yield span
    for step in run.steps:
        yield from _spans(step, trace, session, content)


def _about(run: Run, session: str | None, content: bool) -> dict[str, Any]:
    """Return the span's attributes; what is not known is left out."""
    if run.messages is None:
        about: dict[str, Any] = {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": run.name}
    else:
        about = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": _provider(run),
            "gen_ai.request.model": run.model,
        }
        about |= {name: run.sampling.get(key) for key, name in _SETTINGS.items()}
        about["gen_ai.input.messages"] = _said(run.messages) if content else None
        about["gen_ai.output.messages"] = _answered(run) if content and run.answer is not None else None
    about["gen_ai.conversation.id"] = session
    about["gen_ai.usage.input_tokens"] = run.usage.get("input_tokens")
    about["gen_ai.usage.output_tokens"] = run.usage.get("output_tokens")
    about["error.type"] = run.error.partition(":")[0] if run.error else None
    return {name: value for name, value in about.items() if value is not None}


def _provider(run: Run) -> str | None:
    """Return who served the model, where its name tells that it ran here; a served model's name does not say by whom."""
    return "chaintune" if (run.model or "").startswith(_OWN) else None


def _said(messages: list[dict[str, Any]]) -> str:
    """Return messages in the conventions' form, as the JSON text that an attribute can hold."""
    return to_json([{"role": one["role"], "parts": [_part(one.get("content"))]} for one in messages])


def _answered(run: Run) -> str:
    return to_json([{"role": "assistant", "parts": [_part(run.answer)], "finish_reason": "stop"}])


def _part(content: Any) -> dict[str, Any]:
    return {"type": "text", "content": content if isinstance(content, str) else to_json(content)}


def _attribute(name: str, value: Any) -> dict[str, Any]:
    return {"key": name, "value": _value(value)}


def _value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list() | tuple():
            return {"arrayValue": {"values": [_value(one) for one in value]}}
        case _:
            return {"stringValue": str(value)}


def _hex(id: str, digits: int) -> str:
    """Return the run's id as one of OTLP's: the id itself where it is one, else, and for a trace, digits of its hash."""
    fits = len(id) == digits and set(id) <= set("0123456789abcdef")
    return id if fits else hashlib.sha256(id.encode()).hexdigest()[:digits]

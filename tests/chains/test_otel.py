"""Runs as OpenTelemetry traces: OTLP's own schema reads them, and the names are those of the semantic conventions' package."""

import json

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as names
from opentelemetry.semconv.attributes import error_attributes

from chains import Chatbot, LLMChain, load_model, runs
from chains.errors import UsageError
from chains.models.fake import FakeChat


def spans(trace):
    (resource,) = trace["resourceSpans"]
    return resource["scopeSpans"][0]["spans"]


def attributes(span):
    return {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}


def test_a_conversation_is_a_trace_of_a_workflow_and_a_chat():
    llm = FakeChat(["It is blue."], temperature=0.5, seed=7, top_p=0.9, top_k=4, max_tokens=20, stop=["#", "!"])
    answer = Chatbot(llm, session="u42").ask("What colour?")
    (trace,) = runs.to_spans()
    top, call = spans(trace)
    run = runs.get(answer.id)
    assert (top["spanId"], call["parentSpanId"], call["spanId"]) == (run.id, run.id, run.steps[0].id)
    assert top["traceId"] == call["traceId"] and len(top["traceId"]) == 32 and "parentSpanId" not in top
    assert int(top["startTimeUnixNano"]) == int(run.started * 1e9) <= int(call["startTimeUnixNano"])
    assert (top["name"], top["kind"], call["name"], call["kind"]) == ("Chatbot", 1, "chat fake", 3)
    assert attributes(top)[names.GEN_AI_OPERATION_NAME] == names.GenAiOperationNameValues.INVOKE_WORKFLOW.value
    assert attributes(top)[names.GEN_AI_WORKFLOW_NAME] == "Chatbot"
    assert attributes(call) == {
        names.GEN_AI_OPERATION_NAME: names.GenAiOperationNameValues.CHAT.value,
        names.GEN_AI_PROVIDER_NAME: "chaintune",
        names.GEN_AI_REQUEST_MODEL: "fake",
        names.GEN_AI_REQUEST_TEMPERATURE: 0.5,
        names.GEN_AI_REQUEST_TOP_P: 0.9,
        names.GEN_AI_REQUEST_TOP_K: "4",
        names.GEN_AI_REQUEST_MAX_TOKENS: "20",
        names.GEN_AI_REQUEST_SEED: "7",
        names.GEN_AI_REQUEST_STOP_SEQUENCES: {"values": [{"stringValue": "#"}, {"stringValue": "!"}]},
        names.GEN_AI_CONVERSATION_ID: "u42",
        names.GEN_AI_USAGE_INPUT_TOKENS: str(run.usage["input_tokens"]),
        names.GEN_AI_USAGE_OUTPUT_TOKENS: "3",
    }


def test_what_was_said_goes_along_only_where_asked():
    LLMChain(llm=FakeChat(["It is blue."]), prompt="What {x}?").run("colour")
    assert "blue" not in json.dumps(runs.to_spans()) and "colour" not in json.dumps(runs.to_spans())
    (call,) = spans(runs.to_spans(content=True)[0])
    said = attributes(call)
    assert json.loads(said[names.GEN_AI_INPUT_MESSAGES]) == [
        {"role": "user", "parts": [{"type": "text", "content": "What colour?"}]}
    ]
    (answered,) = json.loads(said[names.GEN_AI_OUTPUT_MESSAGES])
    assert answered["parts"] == [{"type": "text", "content": "It is blue."}]


def test_a_failed_run_is_an_error():
    with pytest.raises(UsageError):
        LLMChain(llm=load_model("fake:x"), prompt="What {x}?").invoke({"y": 1})
    (span,) = spans(runs.to_spans()[0])
    assert span["status"]["code"] == 2 and "needs 'x'" in span["status"]["message"]
    assert attributes(span)[error_attributes.ERROR_TYPE] in ("UsageError", "WiringError")


def test_the_file_is_otlp_a_trace_a_line(tmp_path):
    for _ in range(2):
        LLMChain(llm=load_model("fake:x"), prompt="Hi").invoke({})
    rated = runs.recent(1)[0]
    runs.feedback(rated.id, rating=1)
    lines = runs.to_spans(path=tmp_path / "s.jsonl") and (tmp_path / "s.jsonl").read_text().splitlines()
    assert len(lines) == 2
    for line in lines:
        ParseDict(json.loads(line), TracesData())  # raises on a field that OTLP does not have
    (chosen,) = runs.to_spans(feedback=1)
    assert spans(chosen)[0]["spanId"] == rated.id
    with pytest.raises(UsageError, match="nothing to write"):
        runs.to_spans(feedback=-1, path=tmp_path / "none.jsonl")

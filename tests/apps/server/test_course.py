"""The fine-tuning code of 2023's courses (openai 0.28: File, FineTuningJob, ChatCompletion), each call in the words of today's client."""

import json

import openai
import pytest

from tests import tiny
from tests.apps.server import live
from tests.apps.server.test_jobs import ended

ROWS = [tiny.chat(f"{n} 더하기 1은?", f"{n + 1}입니다.") for n in range(12)]


def test_the_courses_example_runs_from_upload_to_delete(server_home, tmp_path):
    path = tmp_path / "Fine_sample.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    with live.serving(jobs=True) as (url, _):
        client = live.client(url)  # openai.api_key = …
        assert "starter" in [model.id for model in client.models.list()]  # openai.Model.list()
        with path.open("rb") as file:
            uploaded = client.files.create(file=file, purpose="fine-tune")  # openai.File.create(…)
        job = client.fine_tuning.jobs.create(
            training_file=uploaded.id, model="starter"
        )  # openai.FineTuningJob.create(…)
        assert job.id in [
            each.id for each in client.fine_tuning.jobs.list(limit=10)
        ]  # openai.FineTuningJob.list(limit=10)
        done = ended(client, job)  # openai.FineTuningJob.retrieve(…)
        assert done.status == "succeeded", done.error
        events = client.fine_tuning.jobs.list_events(
            fine_tuning_job_id=job.id, limit=10
        )  # openai.FineTuningJob.list_events(…)
        assert events.data[0].message == "The job has successfully completed"
        prefix, base, organization, suffix, _ = done.fine_tuned_model.split(":")
        assert (prefix, base, organization, suffix) == ("ft", "starter", "local", "")  # ft:<base>:<account>::<id>
        answer = client.chat.completions.create(  # openai.ChatCompletion.create(…), with the page's own settings
            model=done.fine_tuned_model, messages=[{"role": "system", "content": "짧게 답하세요."}, {"role": "user", "content": "3 더하기 1은?"}],
            temperature=0, max_tokens=16, top_p=1, frequency_penalty=0, presence_penalty=0,
        )  # fmt: skip
        assert answer.choices[0].message.content is not None and answer.usage.completion_tokens
        assert uploaded.id in [each.id for each in client.files.list(limit=10)]  # openai.File.list(limit=10)
        assert client.files.delete(uploaded.id).deleted  # openai.File.delete(…)
        assert client.models.delete(done.fine_tuned_model).deleted  # openai.Model.delete(…)
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve(done.fine_tuned_model)

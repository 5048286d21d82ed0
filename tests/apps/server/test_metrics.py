"""/metrics: the figures are those of the requests that were made."""

import httpx
from prometheus_client.parser import text_string_to_metric_families


def figures(url):
    text = httpx.get(f"{url}/metrics").text
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_and_tokens_are_counted_by_route(url, client):
    before = figures(url)
    client.chat.completions.create(
        model="starter", messages=[{"role": "user", "content": "x"}], max_tokens=7, extra_body={"ignore_eos": True}
    )
    for path in ("/made/up", "/made/up/too"):
        httpx.get(f"{url}{path}")
    after = figures(url)

    def more(*key):
        return after[key] - before.get(key, 0)

    assert more("chaintune_requests_total", "/v1/chat/completions", "200") == 1
    assert more("chaintune_requests_total", "404", "none") == 2
    assert more("chaintune_request_seconds_count", "/v1/chat/completions") == 1
    assert more("chaintune_generated_tokens_total", "starter") == 7
    assert after["chaintune_answers_under_way",] == 0 and after["chaintune_loaded_bytes",] > 0

"""Streams answers with the OpenAI SDK, one after the other: BASE_URL OPTIONS
CASE…, each case a JSON object; see llm.rs."""

import json
import sys

from openai import OpenAI

from report import report

url, options, *cases = sys.argv[1:]
options = json.loads(options)


def text_of(event):
    if hasattr(event, "choices"):
        return event.choices[0].delta.content if event.choices else None
    return event.delta if event.type == "response.output_text.delta" else None


# One pool of connections for all of them, as it takes long to make one.
shared = OpenAI(base_url=url, api_key="none", max_retries=options["retries"])

for case in map(json.loads, cases):
    client = shared.with_options(
        base_url=f"{url}/{case['path']}", api_key=case.get("as", "none")
    )
    headers = {"Idempotency-Key": case["key"]} if "key" in case else {}
    text, error = "", None
    try:
        if options["api"] == "responses":
            events = client.responses.create(
                model="none", input="count", stream=True, extra_headers=headers
            )
        else:
            events = client.chat.completions.create(
                model="none",
                messages=[{"role": "user", "content": "count"}],
                stream=True,
                extra_headers=headers,
            )
        for event in events:
            part = text_of(event)
            if part:
                text += part
                report("delta", text=part)
    except Exception as raised:  # Whatever is raised is the result.
        error = f"{type(raised).__name__}: {raised}"
    report("answer", path=case["path"], text=text, error=error)

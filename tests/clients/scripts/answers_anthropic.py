"""Streams answers with the Anthropic SDK, one after the other: BASE_URL OPTIONS
CASE…, each case a JSON object; see llm.rs."""

import json
import sys

from anthropic import Anthropic

from report import report

url, options, *cases = sys.argv[1:]
options = json.loads(options)

# One pool of connections for all of them, as it takes long to make one.
shared = Anthropic(base_url=url, api_key="none", max_retries=options["retries"])

for case in map(json.loads, cases):
    client = shared.with_options(
        base_url=f"{url}/{case['path']}", api_key=case.get("as", "none")
    )
    headers = {"Idempotency-Key": case["key"]} if "key" in case else {}
    text, error = "", None
    try:
        # Either way of asking for a stream.
        if options["api"] == "stream":
            with client.messages.stream(
                model="none",
                max_tokens=64,
                messages=[{"role": "user", "content": "count"}],
                extra_headers=headers,
            ) as stream:
                for part in stream.text_stream:
                    text += part
                    report("delta", text=part)
                stream.get_final_message()
        else:
            for event in client.messages.create(
                model="none",
                max_tokens=64,
                messages=[{"role": "user", "content": "count"}],
                stream=True,
                extra_headers=headers,
            ):
                if event.type == "content_block_delta":
                    text += event.delta.text
                    report("delta", text=event.delta.text)
    except Exception as raised:  # Whatever is raised is the result.
        error = f"{type(raised).__name__}: {raised}"
    report("answer", path=case["path"], text=text, error=error)

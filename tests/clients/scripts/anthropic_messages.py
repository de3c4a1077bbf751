"""Streams one message with the Anthropic SDK: BASE_URL."""

import sys

from anthropic import Anthropic

from report import report

# A retry would hide what this one attempt was told.
client = Anthropic(base_url=sys.argv[1], api_key="none", max_retries=0)

try:
    for event in client.messages.create(
        model="none",
        max_tokens=64,
        messages=[{"role": "user", "content": "count"}],
        stream=True,
    ):
        report("delta", type=event.type)
except Exception as error:  # Whatever is raised is the result.
    report("error", type=type(error).__name__, message=str(error))
else:
    report("done")

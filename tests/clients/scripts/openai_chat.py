"""Streams one chat completion with the OpenAI SDK: BASE_URL."""

import sys

from openai import OpenAI

from report import report

# A retry would hide what this one attempt was told.
client = OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)

try:
    for chunk in client.chat.completions.create(
        model="none", messages=[{"role": "user", "content": "count"}], stream=True
    ):
        report("delta", text=chunk.choices[0].delta.content)
except Exception as error:  # Whatever is raised is the result.
    report("error", type=type(error).__name__, message=str(error))
else:
    report("done")

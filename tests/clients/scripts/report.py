"""One JSON object per line on stdout: what the Rust side waits for and asserts."""

import json


def report(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)

"""Reads a compressed event stream in one of the ways that Python has for it, and
reports each event's data as it comes."""

import gzip
import http.client
import sys
import urllib.parse
import zlib

import urllib3

from report import report


def ask(url):
    """An answer whose body is not decoded."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    headers = {"Accept": "text/event-stream", "Accept-Encoding": "gzip"}
    connection.request("GET", parts.path, headers=headers)
    answer = connection.getresponse()
    report("open", coding=answer.headers["Content-Encoding"])
    return answer


def by_zlib(url):
    """`zlib.decompressobj`, fed with whatever the socket has."""
    answer, decoder = ask(url), zlib.decompressobj(31)
    while raw := answer.read1(65536):
        yield decoder.decompress(raw)
    report("end", whole=decoder.eof)


class Short:
    """A file whose reads return what is there."""

    def __init__(self, answer):
        self.answer = answer

    def read(self, size):
        return self.answer.read1(size)


def by_gzip(url):
    """`gzip.GzipFile`, which complains of a member without its end."""
    with gzip.GzipFile(fileobj=Short(ask(url))) as plain:
        while line := plain.readline():
            yield line
    report("end", whole=True)


def by_urllib3(url):
    """`stream()`, which is what `requests` has under `iter_content`."""
    headers = {"Accept": "text/event-stream", "Accept-Encoding": "gzip"}
    pool = urllib3.PoolManager(timeout=None)
    answer = pool.request("GET", url, headers=headers, preload_content=False)
    report("open", coding=answer.headers["Content-Encoding"])
    yield from answer.stream(65536, decode_content=True)
    report("end", whole=True)


ways = {"zlib": by_zlib, "gzip": by_gzip, "urllib3": by_urllib3}
text = b""
for piece in ways[sys.argv[1]](sys.argv[2]):
    text += piece
    *lines, text = text.split(b"\n")
    for line in lines:
        if line.startswith(b"data: "):
            report("message", data=line[6:].decode())

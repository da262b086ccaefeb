"""Listens with netflume, a decoder from the Python registry, and writes what it decodes: one JSON object a line."""

import json
import signal
import sys

from netflume import Collector

stopped = False


def stop(*_):
    global stopped
    stopped = True


signal.signal(signal.SIGTERM, stop)
with Collector(port=int(sys.argv[2]), bind=sys.argv[1]) as collector:
    print("listening", file=sys.stderr, flush=True)
    while True:
        message = collector.poll(timeout=0.3)
        if message is not None:
            for record in message.flows:
                print(json.dumps({"flow": record, "rate": message.sampling_rate}, default=str))
            for record in message.options:
                print(json.dumps({"options": record, "domain": message.header["domain"]}, default=str))
        elif stopped:
            break
        for event in collector.decoder.take_events():
            # What it learns is no complaint.
            if type(event).__name__ not in ("TemplateLearned", "SamplingChange"):
                print(event, file=sys.stderr)
print("stopped", file=sys.stderr)

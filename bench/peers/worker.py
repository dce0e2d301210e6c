"""What a Python peer's process does: worker.mjs in Python."""

import gc
import json
import re
import sys
import time


def peak():
    try:
        with open("/proc/self/status") as status:
            return int(re.search(r"VmHWM:\s*(\d+)", status.read()).group(1)) * 1024
    except OSError:
        return None


def reset_peak():
    gc.collect()
    try:
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")
    except OSError:
        pass  # not Linux, or not allowed: the peak then counts from the start


def answer(request, prepared, prepare):
    name = request["workload"]
    if name not in prepared:
        prepared[name] = prepare(name, request["options"])
        reset_peak()
    run = prepared[name]
    if run is None:
        raise RuntimeError("not available")
    start = time.perf_counter()
    check = run(request["iterations"])
    return {"seconds": time.perf_counter() - start, "check": check, "peak": peak()}


def serve(about, prepare):
    prepared = {}
    print(json.dumps({"ready": about}), flush=True)
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line), prepared, prepare)
        except Exception as error:  # the harness shows it
            reply = {"error": str(error) or type(error).__name__}
        print(json.dumps(reply), flush=True)

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


def answer(request, prepared, prepare, memory):
    name = request["workload"]
    if name not in prepared:
        prepared.clear()  # one at a time: they may be large
        prepared[name] = prepare(name, request["options"])
        memory[1]()
    run = prepared[name]
    if run is None:
        raise RuntimeError("not available")
    start = time.perf_counter()
    check = run(request["iterations"])
    return {"seconds": time.perf_counter() - start, "check": check, "peak": memory[0]()}


def serve(about, prepare, memory=(peak, reset_peak)):
    """`memory`: functions that give the most memory held, and begin to count it anew; of the process by default."""
    prepared = {}
    print(json.dumps({"ready": about}), flush=True)
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line), prepared, prepare, memory)
        except Exception as error:  # the harness shows it
            reply = {"error": str(error) or type(error).__name__}
        print(json.dumps(reply), flush=True)

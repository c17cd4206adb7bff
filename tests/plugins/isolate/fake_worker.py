"""A worker that speaks the frames and misbehaves on command: a tool of the tests, not of Ringfence.

Run as the real one is: `python -I -S -B fake_worker.py MANNERS DESCRIPTOR`.  MANNERS says how it starts; then
the source of each job names what it does with it.
"""

# mypy: ignore-errors
# Half of it is there to be wrong.

import json
import os
import signal
import sys
import time

manners = sys.argv[1]
descriptor = int(sys.argv[2])
held = []
heard = []


def exactly(size):
    parts = b""
    while len(parts) < size:
        part = os.read(descriptor, min(1 << 16, size - len(parts)))
        if not part:
            os._exit(0)
        parts += part
    return parts


def receive():
    return json.loads(exactly(int.from_bytes(exactly(4), "big")))


def raw(data):
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def frame(value):
    body = json.dumps(value).encode()
    return len(body).to_bytes(4, "big") + body


def send(value):
    raw(frame(value))


def done(value):
    send({"done": {"result": json.dumps(value)}})


def calls(first, count=1, tool="add", arguments="{}"):
    send({"calls": [{"id": first + n, "tool": tool, "arguments": arguments} for n in range(count)]})


def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def sum_of_answers(job):
    total = 0
    for nth in range(1, int(job["arguments"]) + 1):
        calls(nth, arguments=json.dumps({"x": nth}))
        [answer] = receive()["answers"]
        total += json.loads(answer["result"])
    done(total)


def batch(job):
    calls(1, int(job["arguments"]))
    done([answer["result"] or answer["error"] for answer in receive()["answers"]])


def eat(job):
    chunk = 4 << 20
    while True:
        held.append(bytearray(b"x") * chunk)
        time.sleep(0.001)


def large_batch(job):
    calls(1, 4, arguments=f"[{'[],' * int(job['arguments'])}1]")
    done(len(receive()["answers"]))


def too_soon(job):
    calls(1)
    done("I did not wait")
    time.sleep(60)


def after_done(job):
    raw(frame({"done": {"result": "1"}}) + frame({"done": {"result": "2"}}))


def close(job):
    os.close(descriptor)
    time.sleep(300)


def trickle(job):
    while True:
        raw(b"\x00\x00\xff\x00" if not held else b"{")
        held.append(1)
        time.sleep(0.01)


def child(job):
    if os.fork() == 0:
        time.sleep(300)
    done(os.getpid())


def flood(job):
    raw(b"\x00\xff\xff\xff")
    while True:
        raw(b"x" * 65536)


def repeated(job):
    calls(1)
    receive()
    calls(1)
    receive()


def endless_calls(job):
    first = 1
    while True:
        calls(first, 100)
        receive()
        first += 100


JOBS = {
    "echo": lambda job: done(json.loads(job["arguments"])),
    "job": lambda job: done({**job, "source": ""}),
    "pid": lambda job: done(os.getpid()),
    "environment": lambda job: done(
        [dict(os.environ), os.getcwd(), sorted(map(int, os.listdir("/proc/self/fd")))]
    ),
    "sum": sum_of_answers,
    "batch": batch,
    "large batch": large_batch,
    "hang": lambda job: time.sleep(300),
    "listen": lambda job: receive(),
    "spin": lambda job: spin(300),
    "spin a little": lambda job: (spin(0.3), done(1)),
    "eat": eat,
    "flood": flood,
    "long length": lambda job: raw(b"\xff\xff\xff\xff{}"),
    "no length": lambda job: raw(b"\x00\x00\x00\x00{}"),
    "short": lambda job: (raw(b"\x00\x00\x00\x10{}"), os._exit(0)),
    "trickle": trickle,
    "not utf-8": lambda job: raw(b"\x00\x00\x00\x04\xff\xfe{}"),
    "not json": lambda job: raw(b"\x00\x00\x00\x04{1:}"),
    "twice a name": lambda job: raw(b'\x00\x00\x00\x0d{"a":1,"a":2}'),
    "deep frame": lambda job: raw((200_000).to_bytes(4, "big") + b"[" * 200_000),
    "deep result": lambda job: send({"done": {"result": "[" * 100_000 + "]" * 100_000}}),
    "deeper frame": lambda job: raw((300).to_bytes(4, "big") + b"[" * 300),
    "deeper result": lambda job: send({"done": {"result": "[" * 300 + "]" * 300}}),
    "deep arguments": lambda job: calls(1, arguments="[" * 100_000 + "]" * 100_000),
    "large result": lambda job: done("x" * 200_000),
    "result no text": lambda job: send({"done": {"result": 1}}),
    "result no json": lambda job: send({"done": {"result": "{nonsense"}}),
    "result half": lambda job: send({"done": {"result": '"\ud800"'}}),
    "result extra": lambda job: send({"done": {"result": "1", "more": 1}}),
    "two at once": lambda job: send({"done": {"result": "1"}, "calls": []}),
    "unknown frame": lambda job: send({"hello": 1}),
    "ready again": lambda job: send({"ready": {"v8": "1", "layers": [], "pid": os.getpid()}}),
    "no calls": lambda job: send({"calls": []}),
    "id 2": lambda job: calls(2),
    "id 0": lambda job: calls(0),
    "id true": lambda job: send({"calls": [{"id": True, "tool": "add", "arguments": "{}"}]}),
    "id text": lambda job: send({"calls": [{"id": "1", "tool": "add", "arguments": "{}"}]}),
    "id twice": lambda job: send({"calls": [{"id": 1, "tool": "add", "arguments": "{}"}] * 2}),
    "id repeated": repeated,
    "call of numbers": lambda job: send({"calls": [1]}),
    "call extra": lambda job: send({"calls": [{"id": 1, "tool": "add", "arguments": "{}", "run": "x"}]}),
    "arguments no text": lambda job: send({"calls": [{"id": 1, "tool": "add", "arguments": {}}]}),
    "tool half": lambda job: calls(1, tool="\ud800"),
    "tool long": lambda job: calls(1, tool="x" * 5000),
    "too many": lambda job: calls(1, 1001),
    "endless": endless_calls,
    "too soon": too_soon,
    "after done": after_done,
    "close": close,
    "hoard": lambda job: done([one["arguments"] for one in heard]),
    "exit": lambda job: os._exit(0),
    "die": lambda job: os.kill(os.getpid(), int(job["arguments"])),
    "fail": lambda job: send({"failed": json.loads(job["arguments"])}),
    "child": child,
    "call and hang": lambda job: (calls(1), time.sleep(300)),
    "call and die": lambda job: (calls(1), os.kill(os.getpid(), signal.SIGKILL)),
    "call, then hang": lambda job: (calls(1), receive(), time.sleep(300)),
}

LAYERS = [["process", manners != "no process", "alone"], ["seccomp", manners != "no seccomp", "seen or not"]]
if manners == "both ways":
    LAYERS += [["seccomp", False, "or not"]]
if manners == "dead":
    os._exit(3)
if manners == "mute":
    time.sleep(300)
if manners == "noise":
    raw(b"\x00\x00\x00\x02[]")
    time.sleep(300)
if manners == "another pid":
    send({"ready": {"v8": "14.0", "layers": LAYERS, "pid": 1}})
    time.sleep(300)
if manners == "nonsense":
    send({"ready": {"v8": 14, "layers": {}, "pid": os.getpid()}})
    time.sleep(300)
if manners == "silent on walls":
    LAYERS = []
ready = frame({"ready": {"v8": "14.0", "layers": LAYERS, "pid": os.getpid()}})
raw(ready + frame({"done": {"result": "1"}}) if manners == "talkative" else ready)
while True:
    job = receive()["job"]
    heard.append(job)
    JOBS[job["source"]](job)

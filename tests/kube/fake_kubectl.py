"""Stands in for ``kubectl``: records each call and answers by the first rule whose words all occur in it.

Its folder holds ``rules.json``, a list of ``{"words": […], "stdout": "", "stderr": "", "code": 0}``. A rule with
``times`` is used up after so many answers; one with ``file`` sends that file too; one that ``lasts`` ends when it is
told to. Calls are kept in ``calls.jsonl``.
"""

import json
import signal
import sys
from pathlib import Path

folder = Path(__file__).parent
arguments = sys.argv[1:]
stdin = sys.stdin.read() if "--filename" in arguments else ""
with (folder / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps({"arguments": arguments, "stdin": stdin}) + "\n")

rules = json.loads((folder / "rules.json").read_text())
for rule in rules:
    if all(word in arguments for word in rule["words"]) and rule.get("times", 1) > 0:
        if "times" in rule:
            rule["times"] -= 1
            (folder / "rules.part").write_text(json.dumps(rules))
            (folder / "rules.part").replace(folder / "rules.json")
        sys.stdout.write(rule.get("stdout", ""))
        sys.stdout.flush()
        if "file" in rule:
            sys.stdout.buffer.write(Path(rule["file"]).read_bytes())
        sys.stderr.write(rule.get("stderr", ""))
        if rule.get("lasts"):
            signal.pause()
        sys.exit(rule.get("code", 0))

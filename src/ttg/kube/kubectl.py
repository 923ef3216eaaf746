"""The one place that starts ``kubectl``. Every call has a purpose in words, which its error message begins with."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from ttg.errors import InputError, TTGError
from ttg.kube.objects import Object

CALL_SECONDS = 60.0


class ClusterError(TTGError):
    """The cluster, or ``kubectl``, refused or did not answer."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Kubectl:
    """``kubectl`` pointed at a namespace; ``context`` ``None`` is the current one."""

    namespace: str
    context: str | None = None

    def call(self, purpose: str, *arguments: str, stdin: str | None = None, seconds: float = CALL_SECONDS) -> str:
        """Standard output of one call. Whatever goes wrong is one line that begins with ``purpose``."""
        try:
            done = subprocess.run(
                self.command(*arguments),
                input=stdin or "",
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=seconds,
            )
        except OSError as error:
            raise ClusterError(f"{purpose}: kubectl cannot be started: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"{purpose}: kubectl did not end within {seconds:.0f} s: is the cluster up?") from error
        if done.returncode != 0:
            raise ClusterError(f"{purpose}: {explain(done.stderr)}")
        return done.stdout

    def command(self, *arguments: str) -> list[str]:
        """The whole command line."""
        program = shutil.which("kubectl")
        if program is None:
            raise InputError("expected kubectl on PATH: install it, and check it with `kubectl get nodes`")
        context = ["--context", self.context] if self.context else []
        return [program, *context, "--namespace", self.namespace, *arguments]

    def apply(self, purpose: str, objects: Sequence[Object], *options: str) -> None:
        """Create or update ``objects``."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.call(purpose, "apply", *options, "--filename", "-", stdin=json.dumps(listed))

    def create_once(self, purpose: str, wanted: Object) -> bool:
        """Create ``wanted`` unless an object of that kind and name is there, which then stays as it is."""
        name = f"{wanted['kind'].lower()}/{wanted['metadata']['name']}"
        if self.call(purpose, "get", name, "--ignore-not-found", "--output", "name").strip():
            return False
        self.call(purpose, "create", "--filename", "-", stdin=json.dumps(wanted))
        return True

    def find(self, kinds: str, selector: str) -> list[Any]:
        """Objects of ``kinds`` (``pods,jobs``) with the labels of ``selector``."""
        answer = self.call(f"listing {kinds}", "get", kinds, "--selector", selector, "--output", "json")
        items: list[Any] = json.loads(answer)["items"]
        return items

    def events(self) -> list[Any]:
        """The namespace's warnings, as far as the cluster keeps them."""
        answer = self.call("reading events", "get", "events", "--field-selector", "type=Warning", "--output", "json")
        items: list[Any] = json.loads(answer)["items"]
        return items

    def delete(self, purpose: str, kinds: str, selector: str) -> str:
        """Delete what carries the labels of ``selector``, and nothing else; says what."""
        return self.call(purpose, "delete", kinds, "--selector", selector, "--ignore-not-found", seconds=180.0)

    @contextmanager
    def stream(self, purpose: str, *arguments: str) -> Iterator[IO[bytes]]:
        """Standard output of a call while it goes on; a call that ends badly is an error after its last byte."""
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                self.command(*arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
            )
            assert process.stdout is not None
            try:
                with process.stdout as output:
                    yield output
            except BaseException:
                process.kill()
                raise
            finally:
                code = process.wait()
            said.seek(0)
            reason = said.read().decode("utf-8", "replace").partition("\n")[0]
        if code != 0:
            told = explain(reason) if reason else "the connection to the pod broke: try again"
            raise ClusterError(f"{purpose}: {told} (kubectl ended with {code})")


def explain(stderr: str) -> str:
    """kubectl's complaint as one line with what to do about it.

    >>> explain("error: context \\"kind-x\\" does not exist\\n")
    'context "kind-x" does not exist: `kubectl config get-contexts` lists yours'
    """
    lines = [line for line in stderr.splitlines() if line.strip() and not line.startswith("Warning:")]
    text = lines[-1].removeprefix("error: ").removeprefix("Error from server ") if lines else "kubectl said nothing"
    for sign, advice in ADVICE.items():
        if sign in text:
            return f"{text}: {advice}"
    return text


OTHER_CONTEXTS = "`kubectl config get-contexts` lists yours"
OTHER_SETTINGS = "what is there was made with other options: give the same ones, or remove it first (`ttg kube down`)"
ADVICE = {
    "Cannot stat": "there is no such run on the claim",
    'context "': OTHER_CONTEXTS,
    "current-context": OTHER_CONTEXTS,
    "deadline exceeded": "the cluster did not answer in time: `kubectl get nodes` must work",
    "Unauthorized": "log in to the cluster again: `kubectl get nodes` must work",
    'namespaces "': "`ttg kube up` makes the namespace",
    "connection refused": "is the cluster up? `kubectl get nodes` must work",
    "Unable to connect": "is the cluster up? `kubectl get nodes` must work",
    "exceeded quota": "ask for fewer workers or less memory, or raise the namespace's quota",
    "updates to statefulset spec": OTHER_SETTINGS,
    "immutable": OTHER_SETTINGS,
    "can not be less than": OTHER_SETTINGS,
    "Forbidden": "your account may not do this: ask for the role `edit` in this namespace",
    "violates PodSecurity": "the image or a patch asks for more than the restricted profile allows",
}

"""Who may look at the dashboard and who may change something."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from stage import ACCESS, TOKEN, Stage, playing

CAUSE = json.dumps({"error": "ZeroDivisionError", "place": "pendulum.py:31 (simulate)"})


def ask(
    address: str, path: str, method: str = "GET", body: str = "", **headers: str
) -> tuple[int, dict[str, str], str]:
    headers.setdefault("Authorization", f"Bearer {TOKEN}")
    given = {name.replace("_", "-"): value for name, value in headers.items() if value}
    line = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
    line.request(method, path, body or None, given)
    answer = line.getresponse()
    text = answer.read().decode()
    line.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text


def test_answers_keep_the_page_to_itself(stage: Stage) -> None:
    with playing(stage) as address:
        _, headers, _ = ask(address, "/")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("origin", ["", "http://evil.example", "null"])
def test_another_page_cannot_retry(stage: Stage, origin: str) -> None:
    with playing(stage) as address:
        headers = {"Origin": origin} if origin else {}
        status, _, _ = ask(address, "/api/runs/r/retry", "POST", CAUSE, **headers)
    assert status == 403
    assert stage.results.retried == []


def test_our_page_can_retry_and_only_with_post(stage: Stage) -> None:
    with playing(stage) as address:
        assert ask(address, "/api/runs/r/retry")[0] == 405
        status, _, text = ask(address, "/api/runs/r/retry", "POST", CAUSE, Origin=address)
        assert (status, json.loads(text)) == (200, {"retried": 5})
        bad: Any = ask(address, "/api/runs/r/retry", "POST", '{"kind": 1}', Origin=address)
        assert bad[0] == 400
        assert "expected index, or error and place" in bad[2]


def test_everything_but_the_sign_of_life_asks_for_the_token(stage: Stage) -> None:
    with playing(stage) as address:
        for path in ("/", "/api/view", "/api/stream", "/metrics", "/static/app.js", "/?token=wrong"):
            assert ask(address, path, Authorization="")[0] == 403, path
        assert ask(address, "/healthz", Authorization="") == (200, ask(address, "/healthz")[1], "ok\n")
        status, headers, _ = ask(address, f"/?token={TOKEN}", Authorization="")
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert ask(address, "/api/view", Authorization="", Cookie=cookie.split(";")[0])[0] == 200
    assert len(type(ACCESS).by(None).token) >= 32  # made up


def test_two_dashboards_of_a_host_have_cookies_of_their_own() -> None:
    assert ACCESS.cookie != type(ACCESS).by(None).cookie


@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example/x", "///evil.example"])
def test_the_token_leads_to_no_other_host(stage: Stage, path: str) -> None:
    with playing(stage) as address:
        status, headers, _ = ask(address, f"{path}?token={TOKEN}", Authorization="")
    assert (status, headers.get("location")) == (404, None)


def test_a_question_that_cannot_be_answered_gets_one_line(stage: Stage) -> None:
    with playing(stage) as address:
        status, _, text = ask(address, "/api/runs/r/table?sort=colour")
    assert status == 409
    assert text.startswith("expected a column of")


def test_files_outside_the_page_are_not_served(stage: Stage) -> None:
    with playing(stage) as address:
        assert ask(address, "/static/../app.py")[0] == 404
        assert ask(address, "/static/%2e%2e/app.py")[0] == 404

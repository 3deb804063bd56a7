"""A server from its start to its end: addresses, readiness, metrics, signals."""

from __future__ import annotations

import signal

from serving import Running, need_server, request, serve_command

need_server()


def test_the_command_says_where_it_listens_and_ends_on_sigterm():
    with serve_command() as (process, address, _):
        port = int(address.rpartition(":")[2])
        assert address == f"http://127.0.0.1:{port}"
        assert request(port, "GET", "/health")[2] == b"OK"
        assert request(port, "GET", "/ready")[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_metrics_and_unknown_routes():
    with Running() as server:
        assert server.metric("qwen3tts_speaking") == 0
        status, headers, body = server.get("/nowhere")
        assert status == 404
        assert headers["content-type"] == "application/json"
        assert b'"not_found"' in body

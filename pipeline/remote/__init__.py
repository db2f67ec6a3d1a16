"""The same job on an engine that runs elsewhere: a `vllm serve` server (OpenAI's API), or a RunPod serverless endpoint with our worker.

    loop ─ submit, step ─▶ engine.py ─▶ a transport ─▶ calls.py ─ HTTP, tried again where that helps ─▶ the endpoint
                              ▲            openai_server.py: a call per request
                              └─ answers ─ runpod_endpoint.py: a job of many requests, asked after; worker.py is its other end

`machine.py` puts such an engine in the place of this machine's own; `Endpoint` says which. Nothing here is imported by a run on this
machine. The client is httpx2: httpx, which it continues under the same interface, has had no release since December 2024, and the
huggingface-hub that this job needs anyway brings httpx2 along.
"""

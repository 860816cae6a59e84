# plan in a container, for CI, a webhook or HTTP: docker build -t serve-plan:0.1.0 . && docker run --rm serve-plan:0.1.0 --gpu rtx4090 --model qwen3-8b --dry-run
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml hatch_build.py models.yaml gpus.yaml prices.yaml README.md LICENSE constraints.txt ./
COPY planner planner
RUN python -m venv /plan && /plan/bin/pip install --no-cache-dir -c constraints.txt ".[web,mcp]"

FROM python:3.13-slim
COPY --from=build /plan /plan
RUN useradd --uid 10001 --create-home plan
USER 10001
WORKDIR /home/plan
ENV PATH=/plan/bin:$PATH PYTHONUNBUFFERED=1
ENTRYPOINT ["plan"]

# The chat page in a container; see docs/hosting.md.
#   docker build -t agvas .                                   CPU
#   docker build -t agvas --build-arg DEVICE=cuda .           NVIDIA GPU: docker run --gpus all ...
#   docker run --rm -p 7860:7860 agvas
ARG BASE=python:3.12-slim
FROM ${BASE}

# Where pip takes torch from; empty: where it takes everything from. PyTorch's install page names the index of its CPU
# builds, which are several GB smaller on x86-64.
ARG TORCH_INDEX=""
# cpu hides the GPUs even from a torch that could use them.
ARG DEVICE=cpu

RUN useradd --create-home --uid 1000 agvas
WORKDIR /app
COPY requirements.txt ./
RUN if [ -n "$TORCH_INDEX" ]; then \
      pip install --no-cache-dir --index-url "$TORCH_INDEX" "$(grep '^torch' requirements.txt)"; \
    fi && \
    pip install --no-cache-dir -r requirements.txt

COPY app.py LICENSE NOTICE THIRD_PARTY.md ./
COPY agvas_core ./agvas_core
COPY demo ./demo
COPY assets/examples ./assets/examples
COPY checkpoints ./checkpoints

ENV DEVICE=${DEVICE} PYTHONUNBUFFERED=1 GRADIO_ANALYTICS_ENABLED=False
USER agvas
EXPOSE 7860
HEALTHCHECK --start-period=120s --interval=30s --timeout=10s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=8)"]
ENTRYPOINT ["sh", "-c", "[ \"$DEVICE\" = cuda ] || export CUDA_VISIBLE_DEVICES=; exec python app.py --host 0.0.0.0 --port 7860 \"$@\"", "agvas"]

# The server with its model, and nothing to train one:
#   dvc repro export && docker build --tag convline .
#   docker run --rm --publish 127.0.0.1:8000:8000 --read-only --cap-drop ALL convline
FROM python:3.13-slim-trixie

ENV PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

COPY requirements-serve.txt ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements-serve.txt

COPY dvc.yaml params.yaml datasets.yaml ./
COPY src src
COPY models/model.onnx models/

USER 10001:10001
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=5)"]
ENTRYPOINT ["python", "src", "serve", "--host", "0.0.0.0"]

"""Where the project's files are, from its top."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]  # the top of the checkout that this code is from

PIPELINE = Path("dvc.yaml")
LOCK = Path("dvc.lock")
PARAMS = Path("params.yaml")
DATASETS = Path("datasets.yaml")

SETS = Path("data/sets")  # of pictures, imported
RAW = Path("data/raw")
PROCESSED = Path("data/processed")
CHECKPOINT = Path("checkpoints/train.npz")
MODEL = Path("models/model.keras")
ONNX = Path("models/model.onnx")
LITERT = Path("models/model.tflite")
HISTORY = Path("metrics/history")
TRAINING = Path("metrics/train.json")
EVALUATION = Path("metrics/evaluate.json")
PREDICTIONS = Path("metrics/predictions.csv")
RELIABILITY = Path("metrics/reliability.csv")
CORRUPTIONS = Path("metrics/corruptions.csv")
MISTAKES = Path("metrics/mistakes.png")
EXPORT = Path("metrics/export.json")

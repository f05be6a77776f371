"""Bring the dataset's four files to data/raw/, from the first source that has the right bytes."""

from convline import params, problems
from convline.data import datasets
from convline.paths import RAW


class Params(params.Schema):
    """What fetch reads from params.yaml."""

    dataset: str


def main() -> None:
    """Read `dataset`, get its files, write them."""
    name = params.load("fetch", Params).dataset
    dataset = datasets.load(name)

    if dataset.files == "scikit-learn":
        # Slow to import, and needed for this dataset only
        from convline.data import digits, idx

        for file_name, array in digits.make().items():
            idx.write(RAW / file_name, array)
    else:
        from convline.data.download import download, sources

        for file_name, file in dataset.files.items():
            download(sources(dataset, RAW), file_name, file, RAW / file_name)
    print(f"fetch: {name} is in {RAW}/")


if __name__ == "__main__":
    problems.run(main)

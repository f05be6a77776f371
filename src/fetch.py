"""Bring the dataset's files to data/raw/, from the first source that has the right bytes."""

from convline import params, problems
from convline.data import datasets
from convline.paths import RAW, SETS


class Params(params.Schema):
    """What fetch reads from params.yaml."""

    dataset: str


def main() -> None:
    """Read `dataset`, get its files, write them. Files of another dataset are removed."""
    name = params.load("fetch", Params).dataset
    dataset = datasets.load(name)

    if dataset.files == "scikit-learn":
        # Slow to import, and needed for this dataset only
        from convline.data import digits, idx

        for file_name, array in digits.make().items():
            idx.write(RAW / file_name, array)
    else:
        from convline.data import download

        for file_name, file in dataset.files.items():
            if isinstance(dataset, datasets.PictureDataset):
                # Not into the cache of downloads: DVC's holds them
                packed = SETS / name
                places = (str(packed), *dataset.mirrors, f"dvc://{packed}", f"dvc://{RAW}")
                remedy = f"run `dvc pull {packed}.dvc`, or `convline import {name} PICTURES`"
                download.deliver(places, file_name, file, RAW / file_name, remedy)
            else:
                download.download(download.sources(dataset, RAW), file_name, file, RAW / file_name)
    names = datasets.FILES if dataset.files == "scikit-learn" else dataset.files
    for path in RAW.iterdir():
        if path.name not in names:
            path.unlink()
    print(f"fetch: {name} is in {RAW}/")


if __name__ == "__main__":
    problems.run(main)

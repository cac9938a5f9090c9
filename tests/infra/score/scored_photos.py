"""Upload photos, build the command that scores them, and read the rows that it writes."""

from pyarrow import parquet

from tests.support.faulty_cloud import PHOTOS, RESULTS

SOURCE = f"s3://{PHOTOS}/2026/"


def command(faulty_aws, out, *more, source=SOURCE):
    return [source, "--queue", faulty_aws.queue, "--results", f"s3://{RESULTS}/pets/", "--out", str(out), *more]


def expected(number):
    """Return the class or the error code of photo `number`."""
    errors = {40: "damaged_image", 41: "unsupported_image", 42: "no_file"}
    return errors.get(number % 100) or ("cat", "dog")[number % 2]


def key(number):
    return f"2026/{number % 7}/pet {number}.jpg"


def put_photos(faulty_aws, encode, count):
    """Upload photos in ten shades of each class, some of them invalid."""
    drawn = [encode((200 + shade, 0, 0) if shade % 2 == 0 else (0, 0, 200 + shade), (64, 64)) for shade in range(20)]
    invalid = {"damaged_image": drawn[0][:300], "unsupported_image": b"text", "no_file": b""}
    for number in range(count):
        faulty_aws.put(key(number), invalid.get(expected(number), drawn[number % 20]))
    faulty_aws.put("2026/folder/", b"")


def rows_of(out):
    rows = parquet.read_table(out).to_pylist()
    return sorted((row["key"], row["predicted_class"] or row["error_code"]) for row in rows)

"""Writes the Parquet files of tests/fixtures/datasets/parquet: every compression, nested rows, many types.

pip install pyarrow==26.0.1 (another version may write other bytes for the same rows).
"""

import datetime
import decimal
import gzip
import json
import pathlib
import uuid

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = pathlib.Path(__file__).parent.parent / "fixtures" / "datasets" / "parquet"
FOLDER.mkdir(parents=True, exist_ok=True)


def write(name, table, **options):
    pq.write_table(table, FOLDER / f"{name}.parquet", store_schema=False, **options)


# Alpaca's columns: equal instructions (a dictionary), nulls, texts beyond ASCII.
rows = pa.table({
    "instruction": [f"Count to {row % 3}, żółw {row % 3}." for row in range(40)],
    "input": [None if row % 4 else f"from {row}" for row in range(40)],
    "output": [" ".join(str(number) for number in range(row % 3 + row // 3)) + "!" for row in range(40)],
    "score": pa.array([row / 4 for row in range(40)], pa.float32()),
})
for codec in ["none", "snappy", "gzip", "brotli", "lz4", "zstd"]:
    write(codec, rows, compression=codec, row_group_size=16)
write("pages_v2", rows, compression="zstd", data_page_version="2.0", data_page_size=64, write_batch_size=4,
      use_dictionary=False, column_encoding={
          "instruction": "DELTA_BYTE_ARRAY", "input": "DELTA_LENGTH_BYTE_ARRAY", "output": "PLAIN",
          "score": "BYTE_STREAM_SPLIT"})

# As chats and question answering sets are kept.
write("nested", pa.table({
    "messages": pa.array([
        [{"role": "user", "content": "q1"}, {"role": "assistant", "content": "a1"}],
        [{"role": "system", "content": "s"}, {"role": "user", "content": None}, {"role": "assistant", "content": "a2"}],
        [],
        None,
        [None, {"role": "assistant", "content": "a5"}],
    ]),
    "answers": pa.array([
        {"text": ["x", "y"], "answer_start": [1, 2]}, {"text": [], "answer_start": []}, None,
        {"text": None, "answer_start": [None]}, {"text": ["z"], "answer_start": None},
    ], pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])),
    "grid": pa.array([[[1, 2], []], [[], [3]], None, [], [None, [None, 4]]], pa.list_(pa.list_(pa.int64()))),
    "labels": pa.array([[("a", 1), ("b", None)], [], None, [("c", 3)], [("d", 4)]], pa.map_(pa.string(), pa.int64())),
    "keys": pa.array([[(1, "x")], [], None, [(2, None)], [(3, "z"), (4, "w")]], pa.map_(pa.int32(), pa.string())),
}), compression="snappy")

noon = datetime.datetime(2024, 2, 29, 12, 34, 56, 500000)
write("types", pa.table({
    "text": ["a", None],
    "flag": [True, None],
    "int8": pa.array([-1, None], pa.int8()),
    "uint64": pa.array([2**64 - 1, None], pa.uint64()),
    "uint32": pa.array([2**32 - 1, None], pa.uint32()),
    "half": pa.array([-3.140625, None], pa.float16()),
    "single": pa.array([0.1, float("nan")], pa.float32()),
    "double": pa.array([1e300, None]),
    "day": pa.array([datetime.date(2024, 2, 29), None]),
    "moment": pa.array([noon, None], pa.timestamp("us")),
    "instant": pa.array([noon, None], pa.timestamp("ms", tz="UTC")),
    "nanos": pa.array([noon, None], pa.timestamp("ns")),
    "time": pa.array([datetime.time(1, 2, 3, 4), None], pa.time64("us")),
    "small": pa.array([decimal.Decimal("-0.05"), None], pa.decimal128(5, 2)),
    "large": pa.array([decimal.Decimal("12345678901234567890.123456789"), None], pa.decimal128(38, 9)),
    "bytes": pa.array([b"\xff\x00", None], pa.binary()),
    "words": pa.array([b"words", None], pa.binary()),
    "fixed": pa.array([b"abcd", None], pa.binary(4)),
    "uuid": pa.array([uuid.UUID("12345678-9abc-def0-1234-56789abcdef0").bytes, None], pa.uuid()),
    "nothing": pa.nulls(2),
}), version="2.6", compression="none")
write("old_times", pa.table({"text": ["a"], "moment": pa.array([noon], pa.timestamp("ns"))}),
      use_deprecated_int96_timestamps=True, version="1.0")
write("empty", pa.table({"text": pa.array([], pa.string())}))
# Pages in which rows go on from one to the next.
write("long_rows", pa.table({"text": ["r"] * 3, "numbers": pa.array([list(range(row * 500, row * 500 + 500)) for row in range(3)])}),
      data_page_size=256, write_batch_size=16, use_dictionary=False, compression="gzip")


def plain(value):
    """A value as the reader writes it."""
    match value:
        case bytes():
            return value.decode(errors="strict") if value.isascii() else None
        case decimal.Decimal():
            return format(value, "f")
        case datetime.datetime():
            text = value.strftime("%Y-%m-%dT%H:%M:%S")
            text += f".{value.microsecond:06d}".rstrip("0") if value.microsecond else ""
            return text + ("Z" if value.tzinfo else "")
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case [tuple(), *_]:
            return {str(key): plain(item) for key, item in value}
        case list():
            return [plain(item) for item in value]
        case float() if value != value:
            return None
        case _:
            return value


# What pyarrow reads from the files of apache/parquet-testing. Some it cannot read, or reads in another way; one we refuse.
odd = ["dict-page-offset-zero", "incorrect_map_schema", "int96_from_spark", "large_string_map.brotli", "map_no_value"]
expected = {}
for path in sorted((FOLDER / "apache").glob("*.parquet")):
    if path.stem not in odd:
        expected[path.stem] = [plain(row) for row in pq.read_table(path).to_pylist()]
with gzip.GzipFile(FOLDER / "apache" / "expected.json.gz", "wb", mtime=0) as file:
    file.write(json.dumps(expected, ensure_ascii=False).encode())

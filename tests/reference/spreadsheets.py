"""Writes the spreadsheets of tests/fixtures/datasets/spreadsheets, as programs export them, and the Arrow files beside.

pip install openpyxl==3.1.5 pyarrow==26.0.1 datasets==5.2.0 polars==2.1.0 (another version may write other bytes for the same rows).
"""

import csv
import io
import pathlib

FOLDER = pathlib.Path(__file__).parent.parent / "fixtures" / "datasets" / "spreadsheets"
FOLDER.mkdir(parents=True, exist_ok=True)

GERMAN = [
    ["Frage", "Antwort", "Bewertung"],
    ["Wie hoch ist die Grundgebühr?", "Sie beträgt 4,90 € im Monat.", "4,5"],
    ["Darf ich früher kündigen?", 'Ja; schreiben Sie uns "formlos" eine E-Mail.', "3,0"],
    ["Wo finde ich das Gerät?", "Im Schuppen, hinter der Tür – links.", "5,0"],
]
ENGLISH = [
    ["Question", "Answer", "Source"],
    ["How do I reset it?", "Hold the button for ten seconds,\nthen let go.", "manual"],
    ['Does it "bite"?', "No, it doesn’t.", "forum"],
    ["What is the fee?", "£4.50 a month", ""],
]


def text(rows, delimiter, quoting=csv.QUOTE_MINIMAL):
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator="\r\n").writerows(rows)
    return file.getvalue()


def write(name, data):
    (FOLDER / name).write_bytes(data)


# Excel with German settings ends a list with rows of delimiters where cells were emptied.
write("german_excel.csv", (text(GERMAN, ";") + ";;\r\n;;\r\n").encode("cp1252"))
write("excel_sep.csv", b"\xef\xbb\xbf" + ("sep=;\r\n" + text(GERMAN, ";")).encode())
write("excel_unicode.txt", text(GERMAN, "\t").encode("utf-16"))
write("libreoffice.csv", text(GERMAN, ",", csv.QUOTE_NONNUMERIC).replace("\r\n", "\n").encode())
write("google_sheets.csv", text(ENGLISH, ",").encode())
# `COPY ... TO` of PostgreSQL with a header, and mysqldump --tab: no quotes, backslashes.
write("database.tsv", (
    "id\tquestion\tanswer\teditor\n"
    '1\tWhere is "it"?\tOn the shelf,\\nsecond from the left.\t\\N\n'
    '2\t"Quoted start\tYes\tann\n'
    "3\tWas heißt das?\tC:\\\\temp ist ein Ordner.\tbob\n").encode())


# Arrow: what `save_to_disk` leaves, one stream for each shard; and files with many types, compressed.
import datetime
import decimal
import shutil
import tempfile

import polars
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
from datasets import ClassLabel, Dataset, Features, List, Value

ARROW = FOLDER.parent / "arrow"
ARROW.mkdir(parents=True, exist_ok=True)
features = Features({
    "text": Value("string"),
    "label": ClassLabel(names=["calm", "storm"]),
    "tags": List(ClassLabel(names=["wind", "rain"])),
    "messages": List({"role": Value("string"), "content": Value("large_string")}),
})
saved = Dataset.from_dict({
    "text": [f"bay {row}" for row in range(6)],
    "label": [0, 1, 0, 1, -1, 0],
    "tags": [[0, 1], [], None, [1], [0], [0]],
    "messages": [[{"role": "user", "content": f"q{row}"}, {"role": "assistant", "content": "ä" * row}] for row in range(6)],
}, features=features)
with tempfile.TemporaryDirectory() as folder:
    saved.save_to_disk(folder, num_shards=2)
    for path in sorted(pathlib.Path(folder).iterdir()):
        shutil.copy(path, ARROW / path.name)

noon = datetime.datetime(2024, 2, 29, 12, 34, 56, 500000)
types = pa.table({
    "text": ["a", None, "c"],
    "large": pa.array(["x", "żółw", None], pa.large_string()),
    "view": pa.array(["short", "a text of more than twelve bytes", None], pa.string_view()),
    "word": pa.array(["one", "two", "one"]).dictionary_encode(),
    "flag": [True, None, False],
    "small": pa.array([-1, 2, None], pa.int8()),
    "big": pa.array([2**64 - 1, 0, None], pa.uint64()),
    "half": pa.array([-3.140625, None, 1], pa.float16()),
    "single": pa.array([0.1, float("nan"), None], pa.float32()),
    "double": pa.array([1e300, None, -0.5]),
    "day": pa.array([datetime.date(2024, 2, 29), None, None]),
    "moment": pa.array([noon, None, noon], pa.timestamp("us")),
    "instant": pa.array([noon, None, noon], pa.timestamp("ms", tz="UTC")),
    "time": pa.array([datetime.time(1, 2, 3, 4), None, None], pa.time64("us")),
    "price": pa.array([decimal.Decimal("-0.05"), None, decimal.Decimal("12.30")], pa.decimal128(5, 2)),
    "list": pa.array([[1, None], [], None], pa.list_(pa.int32())),
    "pair": pa.array([[1, 2], [3, 4], None], pa.list_(pa.int64(), 2)),
    "struct": pa.array([{"a": "x", "b": [1.5]}, {"a": None, "b": None}, None]),
    "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
    "bytes": pa.array([b"\xff\x00", b"words", None], pa.binary()),
    "fixed": pa.array([b"abcd", None, b"efgh"], pa.binary(4)),
    "nothing": pa.nulls(3),
    "length": pa.array([1, 2, None], pa.duration("s")),
})
for codec in ["uncompressed", "lz4", "zstd"]:
    pa.feather.write_feather(types, ARROW / f"types.{codec}.arrow", compression=codec)
# A dictionary that grows, in three batches.
words = pa.array(["one", "two", "three", "four"])
with pa.ipc.new_stream(ARROW / "growing.arrow", pa.schema({"word": pa.dictionary(pa.int8(), pa.string())}),
                       options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)) as stream:
    for length in [1, 2, 4]:
        indices = pa.array(range(length), pa.int8())
        stream.write_batch(pa.record_batch({"word": pa.DictionaryArray.from_arrays(indices, words[:length])}))

# zstd around other files; one of several frames, with one that is to be skipped, and one that expands a thousandfold.
import struct

import zstandard

ZSTD = FOLDER.parent / "zstd"
ZSTD.mkdir(parents=True, exist_ok=True)
pack = zstandard.ZstdCompressor(write_checksum=True).compress
row = '{{"prompt": "Knot {0}?", "completion": "Ja, {0} ü."}}\n'
lines = "".join(row.format(number) for number in range(3)).encode()
(ZSTD / "rows.jsonl.zst").write_bytes(pack(lines))
(ZSTD / "table.csv.zst").write_bytes(pack(b"q,a\nb,c\nd,e\n"))
(ZSTD / "frames.jsonl.zst").write_bytes(
    pack(lines[:50]) + struct.pack("<II", 0x184D2A53, 5) + b"hello" + pack(lines[50:]))
(ZSTD / "none.parquet.zst").write_bytes(pack((FOLDER.parent / "parquet" / "none.parquet").read_bytes()))
(ZSTD / "bomb.zst").write_bytes(pack(b'{"text": "a"}\n' * 400_000))

# Workbooks.
import openpyxl
from openpyxl.styles import Font

book = openpyxl.Workbook()
sheet = book.active
sheet.title = "Fragen"
sheet["A1"] = "Fragenkatalog 2024"
sheet["A1"].font = Font(bold=True)
sheet.merge_cells("A1:D1")
for row in [["Thema", "Frage", "Antwort", "Stand"],
            ["Gebühren", "Wie hoch ist die Grundgebühr?", "Sie beträgt 4,90 € im Monat.", datetime.date(2024, 2, 29)],
            [None, "Darf ich früher kündigen?", 'Ja; "formlos" genügt.', datetime.datetime(2024, 3, 1, 12, 30)],
            ["Geräte", "Wo finde ich das Gerät?", "Im Schuppen,\nhinter der Tür – links.", None],
            [None, None, None, None],
            ["Geräte", "Wie viele sind es?", 3.5, None]]:
    sheet.append(row)
sheet.merge_cells("A3:A4")
notes = book.create_sheet("Notizen")
notes["A1"] = "nur für uns"
book.save(FOLDER / "title.xlsx")

book = openpyxl.Workbook()
book.active.title = "Empty"
sheet = book.create_sheet("Export")
for row in [["Question", "Answer", "Share", "Checked"], ["How many?", 12, 0.125, True], ["What's <this> & that?", "A \"test\"", 1, False]]:
    sheet.append(row)
for cell in sheet["C"]:
    cell.number_format = "0.0%"
book.save(FOLDER / "plain.xlsx")

# Polars writes the schema of a file without its length.
polars.DataFrame({"text": ["ab", "a text that is longer than twelve"]}).write_ipc(ARROW / "polars.arrow")

"""The judge of cells: Python's csv, and openpyxl. Reads lines of JSON, [path, delimiter, line of the header],
and answers each with the rows from the header on that are not blank: [[line, [cell, ...]], ...]."""

import csv
import datetime
import decimal
import gzip
import io
import json
import re
import sys
import warnings

import openpyxl
import zstandard

warnings.simplefilter("ignore")


def text_of(data):
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    elif data[:4] == b"\x28\xb5\x2f\xfd" or data[1:4] == b"\x2a\x4d\x18":
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def of_csv(data, delimiter, header_line):
    lines = re.findall("[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text_of(data))[header_line - 1 :]
    reader, before = csv.reader(lines, delimiter=delimiter), header_line - 1
    for row in reader:
        yield before + 1, row
        before = header_line - 1 + reader.line_num


def shown(value, number_format, formula):
    if value is None:
        return "formula without a value" if str(formula).startswith("=") else ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, (int, float)):
        zeros = len(number_format) if set(number_format) == {"0"} else 0
        digits = format(decimal.Decimal(repr(value)), "f").removesuffix(".0")
        return digits.zfill(zeros)
    if isinstance(value, datetime.datetime):
        return str(value.date() if value.time() == datetime.time() else value)
    return re.sub("_x00(00|1E|1F)_", " ", str(value))


def of_workbook(data):
    values, formulas = (openpyxl.load_workbook(io.BytesIO(data), data_only=only) for only in (True, False))
    name = next(sheet.title for sheet in values.worksheets if sheet.sheet_state == "visible")
    for row, other in zip(values[name].iter_rows(), formulas[name].iter_rows()):
        # A number that cannot be a date, but is to be shown as one, is an error for openpyxl.
        cells = [None if cell.value == "#VALUE!" else shown(cell.value, getattr(cell, "number_format", ""), formula.value)
                 for cell, formula in zip(row, other)]
        yield row[0].row, cells


for line in sys.stdin:
    path, delimiter, header_line = json.loads(line)
    with open(path, "rb") as file:
        data = file.read()
    rows = of_workbook(data) if data[:2] == b"PK" else of_csv(data, delimiter, header_line)
    print(json.dumps([row for row in rows if row[0] >= header_line and any(row[1]) and "".join(map(str, row[1])).strip() and row[1][0] != "sep="]))

"""Makes the ugly files that cannot be written by hand: workbooks and packed files. Run it with a Python
that has openpyxl and zstandard, and look at what changed: `expected` says what is right for each."""

import datetime
import gzip
import io
import pathlib
import zipfile

import openpyxl
import openpyxl.chart
import zstandard

HERE = pathlib.Path(__file__).parent
HEADER = "name,phone\n"


def save(name, data):
    HERE.joinpath(name).write_bytes(data)


def workbook(name, rows, change=lambda book, sheet: None):
    book = openpyxl.Workbook()
    book.active.title = "Leads"
    for row in rows:
        book.active.append(row)
    change(book, book.active)
    book.save(HERE / name)


def by_hand(name, sheet, strings=""):
    """A workbook as other programs write it."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    of = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/"
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    files = {
        "[Content_Types].xml": f'<Types xmlns="{package}content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        '<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
        '<Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>'
        '<Override PartName="/xl/sharedStrings.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"/>'
        "</Types>",
        "_rels/.rels": f'<Relationships xmlns="{package}relationships">'
        f'<Relationship Id="rId1" Type="{of}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{of}">'
        f'<sheets><sheet name="Leads" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}relationships">'
        f'<Relationship Id="rId1" Type="{of}/worksheet" Target="worksheets/sheet1.xml"/>'
        f'<Relationship Id="rId2" Type="{of}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{sheet}</sheetData></worksheet>',
        "xl/sharedStrings.xml": strings or f'<sst xmlns="{main}"></sst>',
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, text in files.items():
            archive.writestr(zipfile.ZipInfo(part), head + text, zipfile.ZIP_DEFLATED)
    save(name, packed.getvalue())


def archive(name, *parts):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for part, text in parts:
            file.writestr(zipfile.ZipInfo(part), text)
    save(name, packed.getvalue())


def text(value):
    return f'<is><t xml:space="preserve">{value}</t></is>'


def formats(**by_cell):
    def change(_, sheet):
        for cell, number_format in by_cell.items():
            sheet[cell].number_format = number_format

    return change


def number_cells():
    workbook("numbers.xlsx", [
        ["name", "phone"], ["whole", 9876543210], ["with 91", 919876543211], ["float", 9876543212.0],
        ["text", "9876543213"], ["text with 0", "09876543214"], ["apostrophe", "'9876543215"],
        ["plus", "+91 98765 43216"], ["fraction", 9876543217.5], ["short", 987654321],
        ["exponent", "9.19877E+11"], ["negative", -9876543218], ["huge", 9.8765432198765e20],
        ["empty", None], ["true", True], ["cents", "9876543219.00"],
    ])
    workbook("formats.xlsx", [
        ["name", "phone"], ["thousands", 9876543220], ["scientific", 9876543221], ["groups", 9876543222],
        ["country", 9876543223], ["money", 9876543224], ["zeros", 9876543225], ["as text", "9876543226"],
        ["a date by mistake", 9876543227], ["a date", datetime.datetime(2026, 11, 25)],
    ], formats(B2="#,##0", B3="0.00E+00", B4="00000\\ 00000", B5='"+91 "0', B6='"₹"#,##0.00', B7="00000000000",
               B8="@", B9="dd/mm/yyyy"))


def other_cells():
    dates = [
        ["phone", "joined", "at", "both", "score", "ok", "code"],
        [9876543230, datetime.date(2026, 2, 28), datetime.time(9, 5), datetime.datetime(2026, 2, 28, 13, 30), 0.1, True, 4512],
        [9876543231, datetime.date(1999, 12, 31), datetime.time(23, 59, 59), datetime.datetime(2024, 2, 29, 0, 0, 1), -1.25, False, 12],
    ]
    workbook("dates.xlsx", dates, formats(G2="000000", G3="000000"))
    workbook("1904.xlsx", [["phone", "joined"], [9876543232, datetime.date(2026, 2, 28)]],
             lambda book, _: setattr(book, "epoch", openpyxl.utils.datetime.CALENDAR_MAC_1904))
    row = '<row r="{0}"><c r="A{0}" t="{1}"><f>{2}</f>{3}</c></row>'
    by_hand("formulas.xlsx", '<row r="1"><c r="A1" t="inlineStr">' + text("phone") + "</c></row>"
            + row.format(2, "n", "9876543239+1", "<v>9876543240</v>")
            + row.format(3, "str", "&quot;98765&quot;&amp;43241", "<v>9876543241</v>")
            + row.format(4, "e", "VLOOKUP(1,B:B,1)", "<v>#N/A</v>")
            + row.format(5, "n", "A9", "")
            + row.format(6, "n", "9876543242*1", "<v>9.876543242E9</v>")
            + row.format(7, "b", "1=1", "<v>1</v>"))


def sheets():
    def two(book, _):
        book.create_sheet("Old").append(["phone"])
        book["Old"].append([9876543251])

    def hidden_first(book, sheet):
        two(book, sheet)
        book["Old"].append([9876543252])
        sheet.sheet_state = "hidden"

    def chart_first(book, sheet):
        book.create_chartsheet("Chart", 0).add_chart(openpyxl.chart.BarChart())

    def hidden_parts(_, sheet):
        sheet.row_dimensions[3].hidden = True
        sheet.column_dimensions["B"].hidden = True
        sheet.auto_filter.ref = "A1:B4"

    list_ = [["name", "phone"], ["A", 9876543250]]
    workbook("two-sheets.xlsx", list_, two)
    workbook("first-sheet-hidden.xlsx", list_, hidden_first)
    workbook("chart-first.xlsx", list_, chart_first)
    workbook("hidden-rows.xlsx", [*list_, ["B", 9876543253], ["C", 9876543254]], hidden_parts)
    workbook("merged.xlsx", [["name", "phone", "city"], ["A", 9876543255, "Pune"], ["B", None, "Delhi"]],
             lambda _, sheet: sheet.merge_cells("B2:B3"))
    workbook("title.xlsx", [["Leads of November"], [], ["S.No", "Name", "Mobile No.", "City"], [1, "A", 9876543256, "Pune"]],
             lambda _, sheet: sheet.merge_cells("A1:D1"))
    workbook("starts-at-c5.xlsx", [[], [], [], [], [None, None, "name", "phone"], [None, None, "A", 9876543257]])
    workbook("blank-rows.xlsx", [*list_, [], [None, None], ["  ", ""], ["D", 9876543258], [], []])
    workbook("lines-in-cells.xlsx", [["name", "Mobile\nNumber", "note"], ["A\nB", 9876543259, 'say "hi",\n9876543260,x'],
                                     ["C", "9876543261\n9876543262", "two"], ["D", "9876543263\n", None]])
    workbook("beyond-the-header.xlsx", [["name", "phone"], ["A", 9876543264, None, "x"], ["B", 9876543265]])
    workbook("no-header.xlsx", [[9876543266], [9876543267]])
    workbook("empty.xlsx", [])
    workbook("only-a-header.xlsx", [["phone"]])
    workbook("two-phone-columns.xlsx", [["phone", "mobile"], [1, 2]])
    workbook("hindi.xlsx", [["नाम", "मोबाइल नंबर"], ["अ", "९८७६५४३२६८"], ["आ", 9876543269]])
    workbook("country-code.xlsx", [["isd", "phone"], [44, 7400123456], [91, 9876543270], ["+1", 7025550143]])
    workbook("channel.xlsx", [["phone", "channel"], [9876543271, "Call"], [9876543272, None]])
    workbook("renamed.csv", [["phone"], [9876543273]])
    by_hand("no-references.xlsx", "<row>" + f'<c t="inlineStr">{text("phone")}</c>' "</row><row><c><v>9876543275</v></c></row><row/>"
            "<row><c><v>9876543276</v></c></row>")
    by_hand("rich-text.xlsx", '<row r="1"><c r="A1" t="s"><v>0</v></c></row><row r="2"><c r="A2" t="s"><v>1</v></c></row>',
            strings='<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" count="2" uniqueCount="2"><si><t>phone</t></si>'
            '<si><r><t xml:space="preserve">98765 </t></r><r><rPr><b/></rPr><t>43277</t></r></si></sst>')
    by_hand("out-of-order.xlsx", '<row r="3"><c r="A3"><v>1</v></c></row><row r="2"><c r="A2"><v>9876543278</v></c></row>')
    by_hand("separators-in-cells.xlsx", f'<row r="1"><c r="A1" t="inlineStr">{text("name")}</c><c r="B1" t="inlineStr">{text("phone")}</c></row>'
            f'<row r="2"><c r="A2" t="inlineStr">{text("a_x001F_b_x001E_c")}</c><c r="B2"><v>9876543279</v></c></row>')
    by_hand("more-texts-than-bytes.xlsx", '<row r="1"/>',
            strings='<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" count="9" uniqueCount="99999999999999"></sst>')


def packed():
    def list_(*numbers):
        return "".join(f"x,{number}\n" for number in numbers).encode()

    zst = zstandard.ZstdCompressor(write_checksum=True).compress

    def gz(data):
        return gzip.compress(data, mtime=0)

    head = HEADER.encode()
    one, two = list_(9876543280), list_(9876543281)
    save("list.csv.gz", gz(head + one + two))
    save("members.csv.gz", gz(head + one[:5]) + gz(b"") + gz(one[5:] + two))
    save("list.csv.zst", zst(head + one + two))
    skipped = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    save("frames.csv.zst", skipped + zst(head) + skipped + zst(one) + zst(two))
    save("gzip-named.csv", gz(("\ufeff" + HEADER).encode("utf-16-le") + one.decode().encode("utf-16-le")))
    save("cut.csv.gz", gz(head + one * 999)[:-9])
    save("cut.csv.zst", zst(head + one * 999)[:-9])
    flipped = bytearray(gz(head + one))
    flipped[-6] ^= 1
    save("wrong-checksum.csv.gz", flipped)
    flipped = bytearray(zst(head + one))
    flipped[-2] ^= 1
    save("wrong-checksum.csv.zst", flipped)
    save("more-behind.csv.gz", gz(head + one) + b"what is this?")
    save("twice.csv.gz", gz(gz(head + one)))
    save("workbook.xlsx.gz", gz(HERE.joinpath("empty.xlsx").read_bytes()))
    save("one-long-line.csv.gz", gz(head + b"x" * 2_000_000))
    save("nothing.csv.gz", gz(b""))


def others():
    archive("list.zip", ("list.csv", HEADER + "A,9876543290\n"))
    archive("sheet.ods", ("mimetype", "application/vnd.oasis.opendocument.spreadsheet"), ("content.xml", "<office/>"))
    archive("binary.xlsb", ("[Content_Types].xml", "<Types/>"), ("xl/workbook.bin", "x"))
    archive("letter.xlsx", ("[Content_Types].xml", "<Types/>"), ("word/document.xml", "x"))
    archive("broken.xlsx", ("[Content_Types].xml", "<Types/>"), ("xl/workbook.xml", "<workbook"))
    save("cut.xlsx", HERE.joinpath("numbers.xlsx").read_bytes()[:-200])
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
    save("old.xls", ole + "Workbook".encode("utf-16-le") + bytes(48))
    save("password.xlsx", ole + "EncryptionInfo".encode("utf-16-le") + bytes(36) + "EncryptedPackage".encode("utf-16-le") + bytes(32))
    save("report.pdf", b"%PDF-1.7\n1 0 obj\n")
    save("portal.csv", b'\xef\xbb\xbf\r\n<html xmlns:x="urn:schemas-microsoft-com:office:excel"><table><tr><td>phone</td></tr></table>')
    save("table.xls", b"<table border=1><tr><td>phone<td>9876543291</table>")
    save("xml.xls", b'<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?><Workbook/>')
    save("contacts.vcf", b"BEGIN:VCARD\r\nVERSION:3.0\r\nTEL:9876543292\r\nEND:VCARD\r\n")


number_cells()
other_cells()
sheets()
packed()
others()

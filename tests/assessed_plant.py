"""A plant to be assessed: ten machines on two lines, a year of data in few rows, declared values and answers."""

from pathlib import Path

PLANT = """version = 1
[plant]
id = "works"
name = "江宁一厂"
kind = "discrete"
timezone = "Asia/Shanghai"
[[calendar]]
shifts = [{ name = "全天", start = 00:00:00, end = 00:00:00 }]
[states.default]
"1" = "production"
"3" = "delay"
[[sink]]
kind = "parquet"
path = "lake"
"""

ASSETS = """asset,name,kind,process,production,key_equipment,key_process,control,digital,ideal_cycle,excluded
line1/press1,1号冲压机,press,冲压,yes,yes,yes,nc,yes,3600,
line1/press2,2号冲压机,press,冲压,yes,yes,yes,nc,yes,3600,
line1/press3,3号冲压机,press,冲压,yes,no,yes,plc,yes,3600,
line1/press4,4号冲压机,press,冲压,yes,no,yes,none,no,3600,
line1/press5,5号冲压机,press,冲压,yes,no,yes,none,no,3600,
line2/mill1,1号加工中心,mill,铣削,yes,yes,yes,cnc,yes,3600,
line2/mill2,2号加工中心,mill,铣削,yes,yes,yes,none,yes,3600,
line2/saw1,带锯床,saw,下料,yes,no,yes,none,no,,
line2/saw2,带锯床,saw,下料,yes,no,yes,none,no,,
line2/oven1,退火炉,oven,热处理,yes,no,no,plc,yes,,
site/charger1,充电桩,charger,物流,no,no,no,none,no,,
line2/lathe9,旧车床,lathe,车削,yes,no,no,none,no,,已封存
"""
"""Ten count: six digital; key processes 冲压 (its key equipment is nc), 铣削 (one of two), 下料 (none)."""

NETWORKED = ("line1/press1", "line1/press2", "line1/press3", "line2/mill1")
"""Good data for more than half of each year."""
SILENT = ("line1/press4",)
"""An address, and never a word."""
UNRELIABLE = ("line2/mill2",)
"""One good day a year."""

BUSINESS = """period,measure,value,unit,declared_by,declared_at,attachment
2024,revenue,10000,万元,张会计,2026-01-10,
2025,revenue,12000,万元,张会计,2026-01-10,
2024,cost,8000,万元,张会计,2026-01-10,
2025,cost,9000,万元,张会计,2026-01-10,
2024,staff,200,人,李人事,2026-01-10,
2025,staff,210,人,李人事,2026-01-10,
2024,consumption.electricity,320,万kWh,王能源,2026-01-10,
2025,consumption.electricity,310,万kWh,王能源,2026-01-10,
2025,consumption.blast_furnace_gas,1.5,万m3,王能源,2026-01-10,
2024,consumption.blast_furnace_gas,1.5,万m3,王能源,2026-01-10,
"""

DAYS = {2024: 1_704_038_400, 2025: 1_735_660_800}
"""Midnight of 1 January in Shanghai [s since 1970, UTC]."""
DAY = 86_400


def write(folder: Path, *, answers: str = "", business: str = BUSINESS, **files: str) -> Path:
    """Write the plant into a folder; files: further tables by name, or others in place of these."""
    folder.mkdir(parents=True, exist_ok=True)
    points = ["point,asset,role,source,address,max_hold"]
    plain = (*NETWORKED, *SILENT, *UNRELIABLE)
    source = '\n[[source]]\nid = "line"\nkind = "opcua"\nurl = "opc.tcp://127.0.0.1:4840"\nsecurity = "None"\n'
    for asset in plain:
        hold = "1d" if asset in UNRELIABLE else "30d"
        points += [
            f"{asset}.{role},{asset},{role},line,ns=2;s={asset}.{role},{hold}" for role in ("state", "total", "good")
        ]
    texts = {
        "plant.toml": PLANT + source,
        "assets.csv": ASSETS,
        "points.csv": "\n".join(points) + "\n",
        "business.csv": business,
        **(
            {"answers.csv": f"rubric,item,answer,score,declared_by,declared_at,attachment\n{answers}"}
            if answers
            else {}
        ),
        **{f"{name}.csv": text for name, text in files.items()},
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "samples.csv").write_text(samples(), encoding="utf-8")
    return folder


def samples() -> str:
    """Two years of the machines: production in the first 300 days, 100 pieces a year, of which 95 are good, then 97."""
    rows = ["ts,point,value"]
    for year, good in ((2024, 95), (2025, 97)):
        begin = DAYS[year] * 10**9
        made, fine = (0, 0) if year == 2024 else (100, 95)
        rows += [f"{begin},{asset}.state,1" for asset in UNRELIABLE]
        for asset in NETWORKED:
            rows += [f"{begin + day * DAY * 10**9},{asset}.state,1" for day in range(0, 300, 30)]
            for tenth in range(13):
                at, share = begin + tenth * 299 * DAY * 10**8, min(tenth, 10) / 10
                rows += [f"{at},{asset}.total,{made + 100 * share}", f"{at},{asset}.good,{fine + good * share}"]
    return "\n".join(rows) + "\n"

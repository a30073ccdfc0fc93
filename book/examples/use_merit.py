"""python use_merit.py CHECKPOINT RECORD.hea ...: what a checkpoint makes of WFDB files. No medical device."""

import sys

import merit
from merit.data.wfdb_io import read_record

model = merit.load(sys.argv[1])
paths = sys.argv[2:]
z = model.embed(paths)
print(f"{len(paths)} files, {z.shape[1]} numbers each")

one = read_record(paths[0])  # [12, samples] in millivolts, at the file's own rate
chosen = {"I": 0, "II": 1, "V6": 11, "V5": 10, "V4": 9, "V3": 8, "V2": 7, "V1": 6}
again = model.embed(one.signal_mv[list(chosen.values())], fs_hz=one.fs_hz, leads=list(chosen))
print(f"from eight leads in another order: at most {abs(again - z[0]).max():.0e} away")

print(model.zero_shot(paths, {"AFIB": "atrial fibrillation", "SR": ["sinus rhythm", "regular rhythm"]}).round(2))
print(model.similar(paths[0], z, k=2))

model.save_pretrained("my-merit")  # with text encoder and model card: can be moved and published
assert (merit.load("my-merit").embed(paths) == z).all()

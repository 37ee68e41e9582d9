"""Foreign recordings to events. `formats.py` is the way in: FORMATS, detect, import_format."""

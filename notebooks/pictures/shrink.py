"""Store the course's figures, and the screenshot, in 256 colours: a third of the size. Run it after new outputs.

Needs Pillow, which matplotlib brings. A figure that has been shrunk stays as it is.
"""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

from PIL import Image

FIGURE = re.compile(r'(?<="image/png": ")[^"]+')


def shrunk(png: bytes) -> bytes:
    """A picture in 256 colours of its own."""
    with Image.open(io.BytesIO(png)) as picture:
        if picture.mode == "P":
            return png
        small = picture.convert("RGB").quantize(256, kmeans=2, dither=Image.Dither.NONE)
    written = io.BytesIO()
    small.save(written, "PNG", optimize=True)
    return written.getvalue()


def _in_text(found: re.Match[str]) -> str:
    kept = found[0].removesuffix("\\n")  # as some editors end it
    png = base64.b64decode(kept)
    small = shrunk(png)
    return found[0] if small == png else found[0].replace(kept, base64.b64encode(small).decode())


if __name__ == "__main__":
    here = Path(__file__).parent
    for path in sorted(here.parent.glob("*.ipynb")):
        path.write_text(FIGURE.sub(_in_text, path.read_text("utf-8")), "utf-8")
    (here / "player.png").write_bytes(shrunk((here / "player.png").read_bytes()))

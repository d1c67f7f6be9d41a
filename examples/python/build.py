"""Makes key-check.wasm: CPython with policy.py in it, and the manifest."""

import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
OUTPUT = HERE / "key-check.wasm"


def main() -> None:
    tool = pathlib.Path(sys.executable).parent / "componentize-py"
    command = [tool, "-d", "wit", "-w", "key-check", "componentize", "-p", ".", "-o", OUTPUT, "policy"]
    subprocess.run(command, cwd=HERE, check=True)
    # Parsed and written anew, so that a mistake in it is found here.
    manifest = json.dumps(json.loads((HERE / "manifest.json").read_text())).encode()
    with OUTPUT.open("ab") as component:
        component.write(custom_section(b"portcullis:manifest", manifest))
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size / 1e6:.1f} MB")


def custom_section(name: bytes, content: bytes) -> bytes:
    """A custom section of WebAssembly: its number (0), its size, its name with that one's size, and its content."""
    body = leb128(len(name)) + name + content
    return b"\0" + leb128(len(body)) + body


def leb128(number: int) -> bytes:
    """A number in groups of seven bits, the lowest first; all but the last have the high bit set."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes(encoded) + bytes([number])


if __name__ == "__main__":
    main()

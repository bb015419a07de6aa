#!/usr/bin/env python3
"""Draws docs/terminal.svg: what `skillsctl` prints on a terminal, against the sandbox, as it prints it.

    docs/picture.py            builds (debug), runs the commands below in a folder of its own, writes docs/terminal.svg

Only the clock is set (SKILLSCTL_TEST_NOW), so that "2 minutes ago" does not take two minutes. Needs Python 3 and Rust.
"""

import fcntl
import html
import json
import os
import pty
import re
import struct
import subprocess
import tempfile
import termios
import time
import unicodedata
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
COLUMNS = 124

# What is shown, and when.
SHOWN = [
    ("2026-11-30T09:00:07Z", "skillsctl sync --all"),
    ("2026-11-30T09:02:10Z", "skillsctl status"),
    ("2026-11-30T09:02:15Z", "skillsctl status xyz"),
    ("2026-11-30T09:02:21Z", "skillsctl config explain xyz aptem.sync_frequency"),
    ("2026-11-30T09:02:33Z", "skillsctl record list xyz learners --limit 3"),
]


def main():
    build = ["cargo", "build", "--quiet", "--bin", "skillsctl", "--example", "sandbox"]
    subprocess.run(build, cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as folder:
        ready = os.path.join(folder, "ready.json")
        # Addresses are shown, so they are the same each time.
        sandbox = [os.path.join(TARGET, "debug/examples/sandbox"), "--ready-file", ready, "--until-stdin-closes"]
        sandbox += ["--ports-from", "47010"]
        with subprocess.Popen(sandbox, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as playing:
            while not os.path.exists(ready):
                time.sleep(0.05)
            with open(ready, encoding="utf-8") as file:
                addresses = json.load(file)
            environment = {
                "PATH": os.path.join(TARGET, "debug") + ":/usr/bin:/bin",
                "HOME": folder,
                "USER": "admin",
                "TERM": "xterm-256color",
                "SKILLSCTL_DB": os.path.join(folder, "skills.db"),
                "SKILLSCTL_KEY_FILE": os.path.join(folder, "skillsctl.key"),
            }
            set_up(addresses, environment)
            screens = [(line, on_terminal(line, environment | {"SKILLSCTL_TEST_NOW": now})) for now, line in SHOWN]
            playing.stdin.close()
    with open(os.path.join(ROOT, "docs/terminal.svg"), "w", encoding="utf-8") as file:
        file.write(svg(screens))


def set_up(addresses, environment):
    """Makes three organizations, one of them with a key that its provider refuses."""

    def run(line, secret=None, now="2026-11-27T14:20:00Z"):
        subprocess.run(["sh", "-c", line], env=environment | {"SKILLSCTL_TEST_NOW": now}, check=True,
                       input=secret, text=True, capture_output=True)

    def account(name):
        with urllib.request.urlopen(f"{addresses['control']}/account?service=hubspot&account={name}") as answer:
            return json.load(answer)["portal_id"]

    run("skillsctl init")
    for slug, name, preset in [
        ("abc", "ABC Training", "aptem"),
        ("beacon", "Beacon Skills", "aptem"),
        ("xyz", "XYZ Apprenticeships", "aptem_hubspot"),
    ]:
        run(f"skillsctl org create --name '{name}' --subdomain {slug} --preset {preset}")
        run(f"skillsctl override set {slug} aptem api_url={addresses['aptem']}")
        key = f"sandbox-aptem-{slug}" if slug != "beacon" else "of-last-year"
        run(f"skillsctl credential set {slug} aptem api_key --from-stdin", key)
    run("skillsctl override set xyz aptem sync_frequency=15m field_mappings.learner.division=division_code")
    run(f"skillsctl override set xyz hubspot api_url={addresses['hubspot']} portal_id={account('xyz')}")
    run("skillsctl credential set xyz hubspot api_key --from-stdin", "sandbox-hubspot-xyz")


def on_terminal(line, environment):
    """Returns what a line leaves on a terminal, as lines with their colours."""
    child, terminal = pty.fork()
    if child == 0:
        # The size of the terminal is set before anything looks at it.
        os.read(0, 1)
        os.execve("/bin/sh", ["sh", "-c", line], environment)
    attributes = termios.tcgetattr(terminal)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    os.write(terminal, b"\n")
    printed = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:
            break
        if not chunk:
            break
        printed += chunk
    os.waitpid(child, 0)
    text = printed.decode().replace("\r\n", "\n")
    # Progress is drawn over itself: what stays is what comes after the last return to the start of a line.
    lines = [re.split(r"\r|\x1b\[2K", line)[-1] for line in text.split("\n")]
    return "\n".join(lines).rstrip("\n").split("\n")


COLOURS = {"31": "#f7768e", "32": "#9ece6a", "33": "#e0af68", "36": "#7dcfff"}
CELL, LINE, LEFT, TOP = 8.4, 20, 20, 52


def spans(line):
    """Yields (column, text, attributes) for each stretch of one style."""
    column, style = 0, {}
    for piece in re.split(r"(\x1b\[[0-9;]*m)", line):
        code = re.fullmatch(r"\x1b\[([0-9;]*)m", piece)
        if code:
            for number in code[1].split(";"):
                if number in ("", "0"):
                    style = {}
                elif number == "1":
                    style = style | {"font-weight": "bold"}
                elif number == "2":
                    style = style | {"opacity": "0.6"}
                elif number in COLOURS:
                    style = style | {"fill": COLOURS[number]}
        elif piece:
            # Stretches are cut at wide gaps, so that no font can push columns out of line.
            for part in re.finditer(r"\S+(?: \S+)*", piece):
                yield column + width(piece[: part.start()]), part[0], style
            column += width(piece)


def wrapped(line):
    """Breaks a line where the terminal does."""
    rows, row, column, style = [], "", 0, ""
    for piece in re.split(r"(\x1b\[[0-9;]*m)", line):
        if piece.startswith("\x1b"):
            row, style = row + piece, piece
            continue
        for letter in piece:
            if column + width(letter) > COLUMNS:
                rows.append(row)
                row, column = style, 0
            row, column = row + letter, column + width(letter)
    return rows + [row]


def width(text):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def svg(screens):
    rows = []
    for line, printed in screens:
        rows += [f"\x1b[36m$\x1b[0m \x1b[1m{line}\x1b[0m", *(row for line in printed for row in wrapped(line)), ""]
    texts = []
    for number, row in enumerate(rows[:-1]):
        for column, text, style in spans(row):
            extra = "".join(f' {name}="{value}"' for name, value in style.items())
            place = f'x="{LEFT + column * CELL:.1f}" y="{TOP + number * LINE}"'
            texts.append(f'<text {place} textLength="{width(text) * CELL:.1f}"{extra}>{html.escape(text)}</text>')
    wide, high = LEFT * 2 + COLUMNS * CELL, TOP + len(rows[:-1]) * LINE
    label = "A terminal: " + ", then ".join(line for line, _ in screens)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high}" width="{wide:.0f}" role="img" '
        f'aria-label="{html.escape(label)}">',
        f'<rect width="{wide:.0f}" height="{high}" rx="8" fill="#1a1b26"/>',
        *(f'<circle cx="{20 + 18 * i}" cy="18" r="6" fill="{c}"/>' for i, c in enumerate(["#f7768e", "#e0af68", "#9ece6a"])),
        '<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="14" '
        'fill="#c0caf5">',
        *texts,
        "</g>",
        "</svg>",
        "",
    ])


if __name__ == "__main__":
    main()

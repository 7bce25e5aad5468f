"""Runs a program on a terminal of its own, as told on stdin, a line of JSON each; answers a line of JSON each.

  {"run": [...], "env": {...}, "size": [columns, rows]}   starts it
  {"keys": "q"}                                            presses keys
  {"size": [columns, rows]}                                gives the terminal another size
  {"signal": 15}                                           sends the program a signal
  {"see": "text", "not": "text"}                           waits until the terminal shows one and not the other
  {"hang_up": true}                                        takes the terminal away, and tells how the program ended
  {"end": true}                                            waits for the end, and tells how the terminal was left
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

PATIENCE = 60
ESCAPE = re.compile(rb"\x1b\[([?0-9;]*)([A-Za-z])")


class Terminal:
    def __init__(self, size):
        self.ours, self.theirs = pty.openpty()
        self.before = termios.tcgetattr(self.theirs)
        self.raw = b""
        self.rest = b""
        self.resize(size)

    def resize(self, size):
        self.columns, self.rows = size
        self.clear()
        packed = struct.pack("HHHH", self.rows, self.columns, 0, 0)
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, packed)

    def clear(self):
        self.grid = [[" "] * self.columns for _ in range(self.rows)]
        self.at = [0, 0]

    def read(self, wait):
        if not select.select([self.ours], [], [], wait)[0]:
            return
        data = os.read(self.ours, 65536)
        self.raw += data
        self.feed(self.rest + data)

    def feed(self, data):
        while data:
            if data[:1] == b"\x1b":
                found = ESCAPE.match(data)
                if not found:
                    break
                self.obey(found.group(1), found.group(2))
                data = data[found.end():]
                continue
            length = next((n for n in range(1, 5) if decodes(data[:n])), None)
            if length is None:
                break
            self.put(data[:length].decode())
            data = data[length:]
        self.rest = data

    def obey(self, arguments, what):
        if what == b"H":
            row, column = ([int(it or 1) for it in arguments.split(b";")] + [1, 1])[:2]
            self.at = [row - 1, column - 1]
        elif what == b"J":
            self.clear()

    def put(self, sign):
        row, column = self.at
        if row < self.rows and column < self.columns:
            self.grid[row][column] = sign
        self.at[1] += 1

    def text(self):
        return "\n".join("".join(row).rstrip() for row in self.grid)


def decodes(data):
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


def own_terminal():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def wait(terminal, is_so):
    until = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > until:
            return False
        terminal.read(0.1)
    return True


def main():
    terminal, child = None, None
    for line in sys.stdin:
        order = json.loads(line)
        answer = {"ok": True}
        if "run" in order:
            terminal = Terminal(order["size"])
            child = subprocess.Popen(
                order["run"],
                stdin=terminal.theirs,
                stdout=terminal.theirs,
                stderr=terminal.theirs,
                env={**os.environ, **order["env"]},
                preexec_fn=own_terminal,
            )
        elif "keys" in order:
            os.write(terminal.ours, order["keys"].encode())
        elif "size" in order:
            terminal.resize(order["size"])
            child.send_signal(signal.SIGWINCH)
        elif "signal" in order:
            child.send_signal(order["signal"])
        elif "hang_up" in order:
            os.close(terminal.ours)
            answer["code"] = child.wait(PATIENCE)
            terminal = None
        elif "see" in order:
            def is_so():
                text = terminal.text()
                return order["see"] in text and (not order["not"] or order["not"] not in text)
            answer["ok"] = wait(terminal, is_so)
        elif "end" in order:
            answer["ok"] = wait(terminal, lambda: child.poll() is not None)
            terminal.read(0.1)
            raw = terminal.raw
            answer["code"] = child.returncode
            answer["same"] = termios.tcgetattr(terminal.theirs) == terminal.before
            # The alternate screen was left last, and the cursor shown again.
            answer["left"] = raw.rfind(b"\x1b[?1049l") > raw.rfind(b"\x1b[?1049h") >= 0
            answer["cursor"] = raw.rfind(b"\x1b[?25h") > raw.rfind(b"\x1b[?25l") >= 0
            answer["colours"] = b"\x1b[38;5;" in raw
        if terminal:
            answer["text"] = terminal.text()
        print(json.dumps(answer), flush=True)


main()

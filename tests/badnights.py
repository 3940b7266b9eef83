"""Makes docs/bad-nights.md: what an operator sees when something goes wrong, from real runs.

It needs root, for a full disk, and gcc. What differs from run to run is replaced: folders, times, ports.
"""

# ruff: noqa: S607  (programs of the system, as an operator calls them)

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "bad-nights.md"
PATIENCE = 20.0

LIBC_SHIFT = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long by(void) { const char *s = getenv("SHIFT"); return s ? atol(s) : 0; }
int clock_gettime(clockid_t c, struct timespec *t) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int r = real(c, t);
  if (c == CLOCK_REALTIME) t->tv_sec += by();
  return r;
}
time_t time(time_t *p) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  if (p) *p = t.tv_sec;
  return t.tv_sec;
}
int gettimeofday(struct timeval *restrict v, void *restrict z) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  v->tv_sec = t.tv_sec;
  v->tv_usec = t.tv_nsec / 1000;
  return 0;
}
"""


class Night:
    """One story: commands as an operator types them, with what they print."""

    def __init__(self, folder: Path, title: str, text: str) -> None:
        self.folder = folder
        self.title = title
        self.text = text
        self.lines: list[str] = []
        self.relay: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "NO_COLOR": "1",
            "CLAVE_HOME": str(folder / "home"),
            "D": str(folder / "relay"),
        }

    def start(
        self,
        *options: str,
        shown: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start the relay in the background, its log in a file; wait until it listens or ends."""
        log = self.folder / "log"
        options = ("--log-file", str(log), *options)
        words = ["clave-relay", "--data", self.environment["D"]]
        words += ["--listen", f"127.0.0.1:{self.port}", *options]
        self.relay = subprocess.Popen(
            words,
            env={**self.environment, **(environment or {})},
            stdout=(self.folder / "mirror").open("ab"),
            stderr=(self.folder / "errors").open("ab"),
        )
        if shown:
            self.lines.append(f"$ clave-relay {' '.join(('--data', '$D', *options[2:]))} &")
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE and self.relay.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.05)
        if self.relay.poll() is not None and shown:
            self.lines += (self.folder / "errors").read_text().splitlines()[-1:]

    def stop(self, how: int = signal.SIGTERM) -> None:
        """Stop the relay."""
        if self.relay is not None:
            self.relay.send_signal(how)
            self.relay.wait(PATIENCE)
            self.relay = None

    def run(
        self,
        command: str,
        *,
        shown: bool = True,
        last: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run a command; note it and what it prints, or only the last lines of that."""
        ran = subprocess.run(
            ["bash", "-c", command.replace("PORT", str(self.port))],
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )
        out = (ran.stdout + ran.stderr).decode().rstrip("\n")
        if shown:
            self.lines.append(f"$ {command.replace('PORT', str(self.port))}")
            self.lines += out.splitlines()[-last:] if last else out.splitlines()

    def chat(self, name: str, *lines: str) -> None:
        """Have somebody type lines into a client, which is not shown."""
        typed = "".join(f"{line}\\n" for line in (*lines, "exit"))
        self.run(f"printf '{typed}' | clave chat --relay 127.0.0.1:PORT --name {name}", shown=False)

    def log(self, word: str) -> None:
        """Note the log's lines with a word, waiting for the first."""
        began = time.monotonic()
        found: list[str] = []
        while not found and time.monotonic() - began < PATIENCE:
            text = (self.folder / "log").read_text() if (self.folder / "log").exists() else ""
            found = [line for line in text.splitlines() if word in line]
            time.sleep(0.05)
        self.lines.append(f"$ grep '{word}' relay.log")
        self.lines += found[:2]


def _free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


def full_disk(night: Night) -> None:
    disk = night.folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", disk], check=True)
    try:
        night.environment["D"] = str(disk / "relay")
        night.start()
        night.chat("red", "/new friends")
        night.run(f"head -c 9000000 /dev/zero > {disk}/filled 2>/dev/null", shown=False)
        night.run("clave-relay check --data $D | grep space")
        night.run("clave send --wait 3 friends 'is anybody there?'")
        (disk / "filled").unlink()
        night.lines.append("$ rm the-file-that-filled-it")
        night.run("clave tail -n 1 friends & sleep 4; kill $!", last=1)
        night.stop()
    finally:
        night.stop(signal.SIGKILL)
        subprocess.run(["umount", disk], check=True)


def clock(night: Night) -> None:
    library = night.folder / "shift.so"
    source = night.folder / "shift.c"
    source.write_text(LIBC_SHIFT)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    night.start(shown=False)
    night.chat("red", "/new friends", "hello")
    night.stop()
    ahead = {"LD_PRELOAD": str(library), "SHIFT": str(366 * 24 * 3600)}
    night.lines.append("$ date --set '+1 year'")
    night.start("--retain-days", "30", environment=ahead)
    night.log("clock")
    night.run("clave-relay check --data $D --retain-days 30 | grep clock", environment=ahead)
    night.run("clave tail -n 1 friends & sleep 3; kill $!", last=1)
    night.stop()


def descriptors(night: Night) -> None:
    night.folder.joinpath("crowd.py").write_text(
        "import socket,sys,time\n"
        "held=[]\n"
        "for _ in range(150):\n"
        "    s=socket.socket(); s.setblocking(False)\n"
        "    s.connect_ex(('127.0.0.1',int(sys.argv[1]))); held.append(s)\n"
        "time.sleep(12)\n"
    )
    night.lines.append("$ ulimit -n 120")
    night.run(
        f"ulimit -n 120; clave-relay --data $D --listen 127.0.0.1:PORT --log-file {night.folder}/log"
        " >/dev/null 2>&1 & echo $! > $D.pid; sleep 2",
        shown=False,
    )
    night.lines.append("$ clave-relay --data $D &")
    crowd = subprocess.Popen([sys.executable, night.folder / "crowd.py", str(night.port)])
    night.log("connections wait")
    night.run("clave-relay status --data $D | head -4")
    night.run("clave-relay ban 192.0.2.7 --note flood --data $D")
    crowd.kill()
    crowd.wait()
    night.run("kill $(cat $D.pid)", shown=False)


def lost_key(night: Night) -> None:
    night.start(shown=False)
    night.chat("red", "/new friends")
    night.run("clave-relay backup $D.tar --data $D")
    night.stop()
    night.run("rm $D/tls.pem")
    night.start()
    night.run("tar -xpf $D.tar -C $D tls.pem")
    night.start()
    night.run("clave rooms")
    night.stop()


def restored_backup(night: Night) -> None:
    night.start(shown=False)
    night.chat("red", "/new friends", "before the backup")
    night.run("clave-relay backup $D.tar --data $D")
    night.chat("red", "after the backup")
    night.stop(signal.SIGKILL)
    night.run("rm -r $D; mkdir -m 700 $D; tar -xpf $D.tar -C $D")
    night.start()
    night.log("restored")
    night.run("clave send friends 'and on we go'")
    night.run("clave tail -n 3 friends & sleep 4; kill $!", last=3)
    night.stop()


def two_relays(night: Night) -> None:
    night.start(shown=False)
    night.run("clave-relay --data $D --listen 127.0.0.1:0")
    night.run("clave-relay --data $D.other --listen 127.0.0.1:PORT")
    night.run("clave-relay check --data $D --listen :7878 | grep listen")
    night.stop()


def damaged(night: Night) -> None:
    night.start(shown=False)
    night.chat("red", "/new friends")
    night.chat("blue")
    night.run("clave-relay ban blue --note spam --data $D")
    night.stop()
    night.run(
        "python -c \"import apsw, os; db = apsw.Connection(os.environ['D'] + '/relay.db');"
        ' db.execute(\\"UPDATE bans SET subject = \'bluf\'\\")"',
        shown=False,
    )
    night.lines.append("(a bit of the disk flips)")
    night.run("clave-relay check --data $D | grep -v ^ok")
    night.start()
    night.run("clave-relay unban --damaged --data $D")
    night.run("clave-relay ban blue --note spam --data $D")
    night.start()
    night.run("clave-relay ban --data $D")
    night.stop()


def lost_device(night: Night) -> None:
    night.start(shown=False)
    night.chat("blue")
    night.chat("red", "/new friends", "/invite blue")
    night.chat("blue", "/accept")
    night.lines.append("(blue's laptop is gone, and there was no backup)")
    night.run("rm -r $CLAVE_HOME/profiles/blue")
    night.run("printf 'exit\\n' | clave chat --relay 127.0.0.1:PORT --name blue", last=1)
    night.run("clave-relay account list --data $D")
    night.run("clave-relay account free blue --data $D")
    night.run("printf 'exit\\n' | clave chat --relay 127.0.0.1:PORT --name blue", last=3)
    night.run("printf '/remove blue\\n/invite blue\\nexit\\n' | clave chat --name red", last=3)
    night.stop()


def spam(night: Night) -> None:
    night.start(shown=False)
    night.chat("red", "/new friends")
    night.run("clave-relay ban rde --data $D")
    night.run("clave-relay ban red --note spam --data $D")
    night.run("clave send --wait 2 friends 'buy this'")
    night.log("banned")
    night.run("clave-relay unban red --data $D")
    night.stop()


def new_certificate(night: Night) -> None:
    night.start(shown=False)
    night.chat("red", "/new friends")
    night.run("clave-relay certificate next --data $D")
    night.chat("red")
    night.lines.append("(everybody is online once)")
    night.run("clave-relay certificate switch --data $D")
    night.run("clave send friends 'still here'")
    night.run("clave doctor | grep -E 'relay|certificate'")
    night.stop()


NIGHTS: list[tuple[str, str, Callable[[Night], None]]] = [
    ("The disk is full", "What was acknowledged is on disk; the rest waits at the clients.", full_disk),
    ("The clock jumps a year ahead", "Nothing is deleted by a clock that nobody confirmed.", clock),
    (
        "Out of file descriptors",
        "The operator gets through; connections wait.",
        descriptors,
    ),
    (
        "The key is lost",
        "A new one would stop every client.",
        lost_key,
    ),
    ("Back to an older backup", "Clients send again what the relay lost, and say so once.", restored_backup),
    ("Two relays, one folder or one port", "", two_relays),
    ("A damaged database", "A changed row is named and never believed.", damaged),
    (
        "A member lost the only device",
        "The name is freed; who knew the old key is told.",
        lost_device,
    ),
    ("Somebody spams", "", spam),
    ("The certificate has to change", "Clients take the next one without a question.", new_certificate),
]


def _number(pattern: str, word: str, text: str) -> str:
    """Replace what matches by a word and a number: the same for the same."""
    found: dict[str, str] = {}
    return re.sub(pattern, lambda match: found.setdefault(match[0], f"{word}-{len(found) + 1}"), text)


def normalize(text: str, night: Night) -> str:
    """Replace what differs from run to run."""
    for folder in (night.environment["D"], str(night.folder)):
        text = text.replace(folder, "$D" if folder == night.environment["D"] else "/srv")
    text = text.replace(str(night.port), "7878")
    text = re.sub(
        r"(\d{4})-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|[+-]\d\d:\d\d)?", r"\1-11-28 03:12", text
    )
    text = re.sub(r"(?<![-\d] )\b\d\d:\d\d(?= )", "03:12", text)
    text = re.sub(r"\b127\.0\.0\.1:[3-6]\d{4}\b", "127.0.0.1:54321", text)
    text = _number(r"\b([0-9a-f]{4} ){15}[0-9a-f]{4}\b", "CERTIFICATE", text)
    text = _number(r"\b([a-z2-7]{4} ){7}[a-z2-7]{4}\b", "KEY", text)
    return re.sub(r"\b(pid|process) \d+", r"\1 4711", text)


def page() -> str:
    """Run all nights; return the page."""
    lines = [
        "# Ten bad nights",
        "",
        "What an operator sees, and does. Made by `make bad-nights` from real runs: `$D` is the relay's data",
        "folder, and what differs is replaced. [operations.md](operations.md) explains the commands.",
        "",
    ]
    for title, text, story in NIGHTS:
        with tempfile.TemporaryDirectory() as folder:
            night = Night(Path(folder), title, text)
            try:
                story(night)
            finally:
                night.stop(signal.SIGKILL)
            lines += [f"## {title}", ""]
            lines += [text, ""] if text else []
            lines += [
                f"    {line}".rstrip() for line in normalize("\n".join(night.lines), night).splitlines()
            ]
            lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

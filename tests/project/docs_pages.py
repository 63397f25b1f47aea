"""What the tests of the documentation read: pages, commands and code blocks."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
PROGRAMS = ("kedro", "make", "python", "python3", "pip", "unfused", "mlflow")
SHELL = ("", "bash", "sh", "console", "text")
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.S | re.M)


def name_of(page):
    """Return a page's path as test names have it."""
    return str(page.relative_to(ROOT))


def blocks(page, *languages):
    """Return the fenced blocks of a page in some languages."""
    text = page.read_text(encoding="utf-8")
    return [body for _, language, body in _FENCE.findall(text) if language in languages]


def commands(page):
    """Return every command of a page: lines of indented and fenced blocks, and inline code."""
    text = page.read_text(encoding="utf-8")
    prose = _FENCE.sub("", text)
    indented = re.findall(r"^ {4}(.*)$", prose, re.M)
    lines = "\n".join([*blocks(page, *SHELL), *indented]).replace("\\\n", " ").split("\n")
    found = [command_in(line) for line in lines]
    for piece in re.findall(r"`([^`\n]+)`", prose):
        command = command_in(piece)
        if command and command.startswith(("kedro run ", "make ")) and "=`" not in f"{piece}`":
            found.append(command)
    return list(dict.fromkeys(command for command in found if command))


def command_in(line):
    """Return the command of a line, without comment, path and variables set for it; or None."""
    text = re.split(r"(?:^|\s)#", line)[0].strip().removeprefix("$ ")
    text = re.sub(r"<[^>]*>", "placeholder", re.sub(r"\$\w+", "32", text))
    text = re.sub(r"""^(?:[A-Z_]+=("[^"]*"|\S+) )+""", "", text).replace(".venv/bin/", "")
    return text if text.split(" ")[0] in PROGRAMS and " " in text else None

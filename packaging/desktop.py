"""What a Linux desktop needs of a program, written below a folder such as `usr/share`.

Desktop entry, icons in all sizes from `resources/icons/app.svg`, a MIME type for configurations, and a manual page.
The icons are drawn by Qt: run this with the Python of an environment that has it.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

from programs import ROOT

NAME = "finetune-studio"
ICON_SIZES = (16, 22, 24, 32, 48, 64, 96, 128, 256, 512)
MIME = "application/x-finetune-studio"
ENTRY = f"""\
[Desktop Entry]
Type=Application
Name=Finetune Studio
GenericName=Language model fine-tuning
GenericName[zh_CN]=语言模型微调
Comment=Fine-tune a language model on your own computer, and see what happens
Comment[zh_CN]=在自己的电脑上微调语言模型，并看清发生了什么
Exec={NAME} %f
Icon={NAME}
Terminal=false
Categories=Science;ArtificialIntelligence;
Keywords=fine-tuning;language model;LoRA;LLM;training;
StartupNotify=true
StartupWMClass={NAME}
MimeType={MIME};application/toml;application/jsonl;
Actions=new-window;

[Desktop Action new-window]
Name=New window
Name[zh_CN]=新建窗口
Exec={NAME} --new-window
"""
MIME_TYPES = f"""\
<?xml version="1.0" encoding="UTF-8"?>
<mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info">
  <mime-type type="{MIME}">
    <comment>Configuration of Finetune Studio</comment>
    <comment xml:lang="zh_CN">Finetune Studio 配置</comment>
    <sub-class-of type="application/toml"/>
    <sub-class-of type="text/plain"/>
    <icon name="{NAME}"/>
    <glob pattern="*.finetune.toml" weight="60"/>
  </mime-type>
</mime-info>
"""
MANUAL = f"""\
.TH FINETUNE-STUDIO 1 "" "Finetune Studio"
.SH NAME
{NAME} \\- fine-tune a language model on your own computer
.SH SYNOPSIS
.B {NAME}
[\\fICOMMAND\\fR] [\\fIOPTIONS\\fR]
.SH DESCRIPTION
Without a command the window opens. The first start installs what fits this computer, with the build of torch for its
graphics card, into the folder of the user, and says before how much will be downloaded.
.PP
.B {NAME} train CONFIG.toml
trains without a window;
.B {NAME} --help
lists all commands.
.SH FILES
.I ~/.local/share/{NAME}
holds the environment, models, runs and settings.
.SH ENVIRONMENT
.B FINETUNE_STUDIO_HOME
names another folder for them.
.B FINETUNE_STUDIO_TORCH_INDEX, PIP_INDEX_URL, HF_ENDPOINT, HTTPS_PROXY
name mirrors and a proxy for downloads.
.SH EXIT STATUS
0: done; 1: the run or check failed; 2: wrong arguments or configuration.
"""


def write_share(share: Path) -> None:
    """Write everything below `share`."""
    for path, text in (
        (f"applications/{NAME}.desktop", ENTRY),
        (f"mime/packages/{NAME}.xml", MIME_TYPES),
    ):
        file = share / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    manual = share / "man" / "man1" / f"{NAME}.1.gz"
    manual.parent.mkdir(parents=True)
    manual.write_bytes(gzip.compress(MANUAL.encode(), mtime=0))
    write_icons(share / "icons" / "hicolor")


def write_icons(theme: Path) -> None:
    """Draw the icon in every size; the drawing itself is there too."""
    from PySide6.QtCore import Qt
    from PySide6.QtGui import QImage, QPainter
    from PySide6.QtSvg import QSvgRenderer

    source = ROOT / "resources" / "icons" / "app.svg"
    scalable = theme / "scalable" / "apps" / f"{NAME}.svg"
    scalable.parent.mkdir(parents=True)
    scalable.write_bytes(source.read_bytes())
    renderer = QSvgRenderer(str(source))
    for size in ICON_SIZES:
        image = QImage(size, size, QImage.Format.Format_ARGB32)
        image.fill(Qt.GlobalColor.transparent)
        painter = QPainter(image)
        renderer.render(painter)
        painter.end()
        file = theme / f"{size}x{size}" / "apps" / f"{NAME}.png"
        file.parent.mkdir(parents=True)
        if not image.save(str(file)):
            raise OSError(f"{file} could not be written")


def version() -> str:
    """Return the version of the program."""
    command = [sys.executable, "-c", "import studio; print(studio.__version__)"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

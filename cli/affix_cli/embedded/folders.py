"""The folders of the embedded stores: private, short enough for sockets, reachable by PostgreSQL's user."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import typer

from affix_cli.embedded.child import Account
from affix_cli.failures import Failure

POSTGRES_USER = "embedded_postgres"
# sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero included.
SOCKET_PATH_BYTES = 100


def make_private(folder: Path, account: Account | None) -> None:
    """Make a folder that only its owner enters: the account, or without one this process's user."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account is not None:
        os.chown(folder, account.uid, account.gid)


def socket_folder(folder: Path, socket_name: str, account: Account | None) -> Path:
    """Return where a store of this folder puts its socket: there, or a private temporary folder if that is too long.

    The temporary folder's name depends only on the store's folder and its user,
    so that it is the same on every start. Raises Failure when somebody else
    made it first, or when the temporary path is too long as well.
    """
    if _fits(folder / socket_name):
        return folder
    uid = os.geteuid() if account is None else account.uid
    digest = hashlib.sha256(f"{folder}\0{uid}".encode()).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"affix-{digest}"
    if not _fits(short / socket_name):
        raise Failure(f"the path {short / socket_name} is too long for a unix socket: set TMPDIR to a shorter one")
    try:
        short.mkdir(mode=0o700)
        if account is not None:
            os.chown(short, account.uid, account.gid)
    except FileExistsError:
        found = short.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or stat.S_IMODE(found.st_mode) & 0o077:
            raise Failure(f"{short} exists and is not a private folder of this user: remove it") from None
    return short


def account_for_postgres() -> Account | None:
    """Return the user PostgreSQL runs as: None (our own), or for root, as which it refuses to run, a system user.

    That user is made when it is missing. Raises Failure when it cannot be.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(POSTGRES_USER)
    except KeyError:
        _add_user()
        entry = pwd.getpwnam(POSTGRES_USER)
    return Account(entry.pw_uid, entry.pw_gid)


def let_traverse(account: Account, *paths: Path) -> None:
    """Let a user pass through the parent folders of these paths, where it cannot, and log which were opened.

    Only the right to pass (o+x) is added, never to list or read.
    """
    opened = []
    for parent in dict.fromkeys(parent for path in paths for parent in path.parents):
        found = parent.stat()
        if found.st_uid != account.uid and not found.st_mode & stat.S_IXOTH:
            parent.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)
            opened.append(str(parent))
    if opened:
        typer.echo(f"affix: PostgreSQL's user may now pass through (o+x) {', '.join(opened)}", err=True)


def let_read(program: Path) -> None:
    """Let everyone read and run what a wheel installed, when a strict umask kept it to root.

    These are a published package's files: nothing in them is private.
    """
    if program.stat().st_mode & stat.S_IXOTH:
        return
    root = program.parent.parent
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))
    typer.echo(f"affix: PostgreSQL's user may now read the programs in {root}", err=True)


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= SOCKET_PATH_BYTES


def _add_user() -> None:
    tool = shutil.which("useradd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if tool is None:
        raise Failure("PostgreSQL does not run as root, and there is no useradd to make a user for it: run as a user")
    made = subprocess.run(  # noqa: S603 - a fixed command, no shell
        [tool, "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", POSTGRES_USER],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise Failure(f"cannot make the user {POSTGRES_USER} that PostgreSQL runs as: {made.stderr.strip()}")

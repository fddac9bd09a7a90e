#!/bin/sh
# Installs demarc from this directory, for systems whose package manager takes neither of the packages.
#
#   ./install.sh            installs, or upgrades what is there; settings and state stay
#   ./install.sh --remove   removes the program and what starts it; settings, state and user stay
#   ./install.sh --purge    removes these, too
#
# It needs no network and asks nothing: `demarc setup` does. FreePBX and Debian 12: use the .deb. EL7 and EL9: the .rpm.
set -eu

here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
home=/var/lib/demarc

die() { echo "install.sh: $*" >&2; exit 1; }
has() { command -v "$1" > /dev/null 2>&1; }

# What starts daemons here: systemd, openrc or sysv.
init() {
  if [ -d /run/systemd/system ]; then echo systemd
  elif has openrc-run; then echo openrc
  elif [ -d /etc/init.d ]; then echo sysv
  else echo none
  fi
}

# The unit that this systemd understands: from 239 on it can take directories away and put some back.
unit() {
  version=$(systemctl --version | awk 'NR == 1 { print int($2) }')
  if [ "$version" -ge 239 ]; then echo demarc.service; else echo demarc-el7.service; fi
}

make_user() {
  getent group demarc > /dev/null || {
    if has groupadd; then groupadd --system demarc; else addgroup -S demarc; fi
  }
  getent passwd demarc > /dev/null || {
    shell=/usr/sbin/nologin
    [ -x "$shell" ] || shell=/sbin/nologin
    if has useradd; then
      useradd --system --gid demarc --home-dir "$home" --no-create-home --shell "$shell" --comment Demarc demarc
    else
      adduser -S -D -H -h "$home" -s "$shell" -G demarc -g Demarc demarc
    fi
  }
}

stop() {
  case $(init) in
    systemd) systemctl stop demarc.service > /dev/null 2>&1 || true ;;
    openrc) rc-service demarc stop > /dev/null 2>&1 || true ;;
    sysv) [ ! -x /etc/init.d/demarc ] || /etc/init.d/demarc stop || true ;;
  esac
}

install_all() {
  # Before anything changes: a program that does not run here must not take the place of one that does.
  "$here/demarc" --version > /dev/null 2>&1 || die "this demarc does not run on this machine (it is for $(cat "$here/made-for"))"
  make_user
  [ -d "$home" ] || install -d -m 0750 -o demarc -g demarc "$home"
  [ -d /etc/demarc ] || install -d -m 0750 -o demarc -g demarc /etc/demarc
  install -d -m 0755 /usr/lib/demarc /usr/share/demarc /usr/share/doc/demarc
  install -m 0755 "$here/access" /usr/lib/demarc/access
  install -m 0644 "$here/recordings.conf" /usr/share/demarc/recordings.conf
  install -m 0644 "$here"/doc/* /usr/share/doc/demarc/
  # In one step: the old one may be running.
  install -m 0755 "$here/demarc" /usr/bin/.demarc.new
  mv -f /usr/bin/.demarc.new /usr/bin/demarc
  /usr/lib/demarc/access close
  case $(init) in
    systemd)
      install -m 0644 "$here/$(unit)" /etc/systemd/system/demarc.service
      install -m 0644 "$here/demarc-access.service" "$here/demarc-enroll.service" /etc/systemd/system/
      systemctl daemon-reload
      systemctl enable demarc.service > /dev/null 2>&1
      systemctl restart demarc.service || echo "install.sh: demarc does not start yet: journalctl -u demarc" >&2
      ;;
    openrc)
      install -m 0755 "$here/openrc" /etc/init.d/demarc
      rc-update -q add demarc default
      [ ! -f /etc/demarc/demarc.toml ] || rc-service demarc restart || true
      ;;
    sysv)
      install -m 0755 "$here/sysv" /etc/init.d/demarc
      if has update-rc.d; then update-rc.d demarc defaults; elif has chkconfig; then chkconfig --add demarc; fi
      /etc/init.d/demarc restart || true
      ;;
    none) echo "install.sh: nothing that starts daemons was found; have \`demarc run\` started by what you use" >&2 ;;
  esac
  echo "Installed $(/usr/bin/demarc --version)."
}

remove() {
  stop
  case $(init) in
    systemd) systemctl disable demarc.service > /dev/null 2>&1 || true ;;
    openrc) rc-update -q del demarc > /dev/null 2>&1 || true ;;
    sysv) if has update-rc.d; then update-rc.d -f demarc remove; elif has chkconfig; then chkconfig --del demarc; fi ;;
  esac
  [ ! -x /usr/lib/demarc/access ] || /usr/lib/demarc/access forget
  rm -f /etc/systemd/system/demarc.service /etc/systemd/system/demarc-access.service \
    /etc/systemd/system/demarc-enroll.service /etc/init.d/demarc /usr/bin/demarc
  rm -rf /usr/lib/demarc /usr/share/demarc /usr/share/doc/demarc
  [ "$(init)" != systemd ] || systemctl daemon-reload
}

purge() {
  remove
  rm -rf "$home" /etc/demarc /etc/systemd/system/demarc.service.d
  if has userdel; then userdel demarc 2> /dev/null || true; else deluser demarc 2> /dev/null || true; fi
  if getent group demarc > /dev/null; then
    if has groupdel; then groupdel demarc || true; else delgroup demarc || true; fi
  fi
}

[ "$(id -u)" = 0 ] || die "only root can install"
case ${1:-} in
  '') install_all ;;
  --remove) remove ;;
  --purge) purge ;;
  *) die "nothing, --remove or --purge" ;;
esac

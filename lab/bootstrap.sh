# SPDX-License-Identifier: GPL-2.0
# Sourced by lab/check and lab/demo: make sure the lab's own interpreter is
# there. The rest of what it needs, lab/lab installs.
if [ ! -x /usr/bin/python3 ]; then
	if [ "$(id -u)" = 0 ]; then
		as_root=
	elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
		as_root='sudo -n'
	else
		echo "lab: python3 is missing; install it with:" >&2
		echo "  sudo apt-get install -y --no-install-recommends python3" >&2
		exit 1
	fi
	$as_root apt-get install -y --no-install-recommends python3 >&2 || {
		$as_root apt-get update >&2
		$as_root apt-get install -y --no-install-recommends python3 >&2
	}
fi

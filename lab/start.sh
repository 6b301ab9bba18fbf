# SPDX-License-Identifier: GPL-2.0
# Sourced by demo, check, bench and soak, with $lists set to the lists of packages they
# need, and with their arguments: have an interpreter.
# shellcheck shell=sh disable=SC2086,SC2154

# help_asked ARG...: print the comment at the head of the command if one of these asks for help.
help_asked() {
	case " $* " in
	*' -h '* | *' --help '*) sed -n '3,/^[^#]/s/^# \{0,1\}//p' "$0" ;;
	*) return 1 ;;
	esac
}

if [ "$(dpkg-query -W -f '${db:Status-Status}' python3 2>/dev/null)" != installed ]; then
	help_asked "$@" && exit
	lab/install $lists
fi
# Nobody's own modules, of whatever version, in the place of Debian's.
export PYTHONNOUSERSITE=1
unset PYTHONHOME PYTHONPATH

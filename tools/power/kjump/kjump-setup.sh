#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What kjump setup does (verbs/setup.c), which has looked at its arguments:
#
#   setup DRY-RUN UNDO FORCE SYSTEMD READY UNENCRYPTED [DEVICE]
#
# The first six are 0 or 1.
#
# All it writes is undone by UNDO, and when the package is purged.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
dry=$1 undo=$2 force=$3 systemd=$4 ready=$5 unencrypted=$6 device=${7:-}

conf=/etc/kjump.conf
grub=/etc/default/grub.d/kjump.cfg
state=/var/lib/kjump
share=/usr/share/kjump/systemd
# Of the files there, as kjump.conf, in these folders of /etc/systemd.
dropins="hibernate:system/systemd-hibernate.service.d logind:system/systemd-logind.service.d
	sleep:sleep.conf.d"
# kjump's exit codes
REFUSED=4

say()
{
	echo "kjump: $*"
}

die()
{
	echo "kjump: $*" >&2
	exit $REFUSED
}

# Do it, or say that it would be done.
doing()
{
	if [ "$dry" = 1 ]; then
		say "would run: $*"
	else
		"$@"
	fi
}

# write FILE: its content is on stdin; whole or not at all.
write()
{
	if [ "$dry" = 1 ]; then
		say "would write $1:"
		sed 's/^/    /'
	else
		mkdir -p "${1%/*}"
		file=$(readlink -f "$1")
		# Who may read it stays as it was.
		[ ! -e "$file" ] || cp -p "$file" "$file.new"
		cat >"$file.new"
		mv "$file.new" "$file"
		say "$1 is written"
	fi
}

# can_jump RELEASE: whether that kernel says so itself, as others have the option, too
can_jump()
{
	kjump status --kernel="/boot/vmlinuz-$1" >/dev/null 2>&1
}

# Kernels that are installed and can jump.
kernels()
{
	for kernel in /boot/vmlinuz-*; do
		release=${kernel#/boot/vmlinuz-}
		if can_jump "$release"; then
			echo "$release"
		fi
	done
}

have()
{
	command -v "$1" >/dev/null
}

facts()
{
	if [ -e /sys/kernel/kexec_jump ]; then
		can='has kexec jump'
	else
		can='has no kexec jump'
	fi
	firmware=BIOS
	if [ -d /sys/firmware/efi ]; then
		firmware=UEFI
	fi
	lockdown=$(sed -n 's/.*\[\(.*\)\].*/\1/p' /sys/kernel/security/lockdown 2>/dev/null || :)
	memory=$(awk '/^MemTotal/ { t = $2 } /^MemAvailable/ { a = $2 }
		END { printf "%d MB, %d MB in use", t / 1024, (t - a) / 1024 }' /proc/meminfo)
	swap=$(awk 'NR > 1 { printf "%s%s (%d MB)", sep, $1, $3 / 1024; sep = ", " }' /proc/swaps)
	echo "kernel     $(uname -r), $can"
	echo "firmware   $firmware"
	echo "lockdown   ${lockdown:-none}"
	echo "memory     $memory"
	echo "swap       ${swap:-none}"
}

# Disks without partitions, partitions, and volumes: NAME SIZE.
places()
{
	lsblk -rpno NAME,TYPE,SIZE,PKNAME | awk '
		$4 != "" { parent[$4] = 1 }
		$2 ~ /^(part|disk|lvm|crypt)$/ { name[n++] = $1; size[$1] = $3 }
		END { for (i = 0; i < n; i++) if (!parent[name[i]]) print name[i], size[name[i]] }'
}

# Why this system cannot be saved there; nothing if it can.
verdict()
{
	if [ "$force" = 1 ]; then
		set -- --force "$1"
	fi
	if [ "$unencrypted" = 1 ]; then
		set -- --unencrypted "$@"
	fi
	# GRUB is not set up yet; and what the system writes to is no matter of the place.
	if ! said=$(kjump -q hibernate --dry-run --any-boot --ignore-unguarded "$@" 2>&1); then
		said=$(echo "$said" | sed -n 's/^kjump: //p' | head -n 1)
		echo "${said:-kjump hibernate --dry-run $* failed}"
	fi
}

# encrypted DEVICE: whether it is, or is on such a one.
encrypted()
{
	lsblk -snro TYPE "$1" 2>/dev/null | grep -qx crypt
}

# Whether disks of this system are, /home or swap space, too: keys are in its memory.
any_encrypted()
{
	lsblk -nro TYPE | grep -qx crypt
}

# Where else the device $device is named, by whoever expects something else there.
named_in()
{
	there=$(readlink -f "$device")
	for file in /etc/fstab /etc/crypttab /etc/initramfs-tools/conf.d/resume; do
		# The first two words: a device, or a name and a device.
		for word in $(sed 's/^RESUME=//; s/#.*//' "$file" 2>/dev/null |
			      awk '{ print $1; print $2 }'); do
			case $word in
			*=*) word=$(findfs "$word" 2>/dev/null || :) ;;
			/dev/*) ;;
			*) continue ;;
			esac
			if [ "$word" ] && [ "$(readlink -f "$word")" = "$there" ]; then
				echo "$file"
				return
			fi
		done
	done
}

# What it will be called when other disks are there.
lasting_name()
{
	case $(lsblk -dnro TYPE "$1") in
	lvm | crypt)
		lsblk -dnpo NAME "$1"
		return
		;;
	esac
	id=$(lsblk -dno PARTUUID "$1")
	if [ "$id" ]; then
		echo "PARTUUID=$id"
		return
	fi
	for link in /dev/disk/by-id/*; do
		if [ "$(readlink -f "$link")" = "$1" ]; then
			echo "$link"
			return
		fi
	done
}

choose()
{
	# Who has said so once need not again.
	if grep -qs '^[[:space:]]*unencrypted[[:space:]]*=[[:space:]]*yes' "$conf"; then
		unencrypted=1
	fi
	echo "places"
	places | while read -r name size; do
		why=$(verdict "$name")
		echo "  $name $size: ${why:-free}"
		case $why in
		'' | *"$name"*) ;;
		*) echo "$why" >>"$work/everywhere" ;;
		esac
		if ! [ "$why" ]; then
			echo "$name" >>"$work/free"
		fi
	done
	if [ "$device" ]; then
		device=$(lsblk -dnpo NAME "$device" 2>/dev/null || readlink -f "$device")
		why=$(verdict "$device")
		if [ "$why" ]; then
			die "$why"
		fi
	elif ! [ -s "$work/free" ] && [ -s "$work/everywhere" ]; then
		# That is not the places' fault.
		die "$(head -n 1 "$work/everywhere")"
	elif ! [ -s "$work/free" ]; then
		die "there is no place to save this system to: make a partition for it," \
			"or a logical volume"
	elif [ "$(wc -l <"$work/free")" -gt 1 ]; then
		die "there are several places to save this system to: kjump setup DEVICE"
	else
		device=$(cat "$work/free")
	fi
	name=$(lasting_name "$device")
	if ! [ "$name" ]; then
		die "$device is called otherwise when other disks are there: make a partition on it"
	fi
	say "this system will be saved to $device, $name"
	if ! any_encrypted || encrypted "$device"; then
		unencrypted=0
	else
		say "disks of this system are encrypted, what is saved there is not: whoever gets" \
			"hold of it can read what was in memory, keys of the disks too"
	fi
}

# For whatever is there already, once: what to go back to.
keep()
{
	if [ "$dry" = 1 ] || [ -e "$state/kept" ]; then
		return
	fi
	mkdir -p "$state"
	if [ -e "$conf" ]; then
		cp -p "$conf" "$state/kjump.conf"
	fi
	: >"$state/kept"
}

# What is not setup's own in a configuration; and what is.
own='^[[:space:]]*\(device\|unencrypted\)[[:space:]]*='
others()
{
	grep -sv "$own" "$1" || :
}

configure()
{
	where=$(named_in)
	if [ "$where" ]; then
		die "$device is named in $where, so that each boot would wait for what it is" \
			"not, or overwrite what was saved: take it out there, and try again"
	fi
	keep
	if [ "$force" = 1 ]; then
		# kjump hibernate asks no more than that what it finds there is its own, or nothing;
		# there are RAIDs, and ZFS, at the end, too.
		doing wipefs -aq "$device"
		doing dd if=/dev/zero "of=$device" bs=128k count=1 conv=fsync,notrunc status=none
	fi
	{
		others "$conf"
		echo "device=$name"
		if [ "$unencrypted" = 1 ]; then
			echo "unencrypted=yes"
		fi
	} | write "$conf"
	if have update-grub; then
		write "$grub" <<-END
			# Written by kjump setup: the next boot resumes what was saved there.
			GRUB_CMDLINE_LINUX="\$GRUB_CMDLINE_LINUX kjump.restore=$name"
		END
		doing update-grub
	fi
	if [ "$systemd" = 1 ]; then
		for dropin in $dropins; do
			folder=/etc/systemd/${dropin#*:}
			doing mkdir -p "$folder"
			doing ln -sf "$share/${dropin%%:*}.conf" "$folder/kjump.conf"
		done
		doing systemctl daemon-reload
		# That is not done here: there are desktops that do not survive it.
		say "from the next boot on, or after systemctl restart systemd-logind, systemctl" \
			"hibernate uses kjump"
	fi
	if [ "$ready" = 1 ]; then
		doing systemctl enable kjump-load.service
	fi
	for release in $(kernels); do
		doing kjump-mkinitramfs "$release"
		if have update-initramfs && [ -e "/boot/initrd.img-$release" ]; then
			doing update-initramfs -u -k "$release"
		fi
	done
}

# A second kernel can be loaded: that is known only by doing it. What somebody has loaded stays.
try_load()
{
	loaded=$(cat /sys/kernel/kexec_loaded) peer=$(cat /sys/kernel/kexec_jump/image_entry)
	if [ "$loaded" != 0 ] || [ "$peer" != 0x0 ]; then
		return 0
	fi
	kjump -q load || return
	kexec -u
}

# Whether it would work; what is wrong is said.
check()
{
	rc=0
	for kernel in /boot/vmlinuz-*; do
		release=${kernel#/boot/vmlinuz-}
		if ! can_jump "$release"; then
			say "$release cannot resume: do not boot it while a system is saved"
		fi
	done
	for release in $(kernels); do
		if have lsinitramfs &&
		   ! lsinitramfs "/boot/initrd.img-$release" | grep -q 'sbin/kjump-boot$'; then
			say "/boot/initrd.img-$release cannot resume: it has no kjump-boot"
			rc=1
		fi
	done
	if have dracut && ! have update-initramfs; then
		say "the initramfs that dracut makes cannot resume: it takes initramfs-tools"
		rc=1
	fi
	if [ "$systemd" = 1 ] && grep -qw noresume /proc/cmdline; then
		say "systemd does not hibernate while noresume is on the kernel command line"
	fi
	# GRUB may be installed where something else boots; it says so itself.
	if have update-grub && grep -q 'BOOT_IMAGE=' /proc/cmdline; then
		if ! grep -qs "kjump.restore=$name" /boot/grub/grub.cfg; then
			say "/boot/grub/grub.cfg does not have kjump.restore=$name"
			rc=1
		fi
	elif ! grep -qwF "kjump.restore=$name" /proc/cmdline; then
		say "the next boot resumes nothing yet: have the boot loader add" \
			"kjump.restore=$name to the kernel command line, boot, and try again"
		rc=1
	fi
	kjump hibernate --dry-run && try_load || rc=$?
	if [ $rc = 0 ]; then
		say "ready: kjump hibernate saves to $device, and the next boot resumes"
	fi
	return $rc
}

undo()
{
	if ! [ -e "$state/kept" ]; then
		die "there is nothing to undo"
	fi
	if [ -e "$conf" ] && [ "$(others "$conf")" != "$(others "$state/kjump.conf")" ]; then
		# Somebody has written to it since.
		{
			others "$conf"
			grep -s "$own" "$state/kjump.conf" || :
		} | write "$conf"
	elif [ -e "$state/kjump.conf" ]; then
		doing cp -p "$state/kjump.conf" "$conf"
	else
		doing rm -f "$conf"
	fi
	if [ -e "$grub" ]; then
		doing rm -f "$grub"
		if have update-grub; then
			doing update-grub
		fi
	fi
	for dropin in $dropins; do
		folder=/etc/systemd/${dropin#*:}
		if [ -L "$folder/kjump.conf" ]; then
			doing rm -f "$folder/kjump.conf"
			doing rmdir --ignore-fail-on-non-empty "$folder"
			reload=1
		fi
	done
	if [ "${reload:-}" ]; then
		doing systemctl daemon-reload
	fi
	if [ -e /etc/systemd/system/multi-user.target.wants/kjump-load.service ]; then
		doing systemctl disable kjump-load.service
	fi
	doing rm -rf "$state"
	say "as before kjump setup"
}

if [ "$undo" = 1 ]; then
	undo
	exit
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
facts
if ! [ -e /sys/kernel/kexec_jump ]; then
	die "this kernel has no kexec jump (CONFIG_KEXEC_JUMP): boot one that has"
fi
# The peer's initramfs is looked at, too, to know what room it needs.
if ! [ -e "/boot/kjump-initrd.img-$(uname -r)" ]; then
	if [ "$dry" = 1 ]; then
		say "would run: kjump-mkinitramfs"
		kjump-mkinitramfs -o "$work/initrd"
		{
			echo "initrd=$work/initrd"
			cat "$conf" 2>/dev/null || :
		} >"$work/conf"
		export KJUMP_CONF="$work/conf"
	else
		kjump-mkinitramfs
	fi
fi
choose
configure
if [ "$dry" = 0 ]; then
	check
fi
